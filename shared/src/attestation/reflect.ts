/**
 * @peculiar/x509 loads tsyringe, which refuses to start without `Reflect.getMetadata`. It asks for the metadata of
 * classes that have none, so two functions that answer "none" are all it needs; a full polyfill, where one is loaded
 * already, is left alone. Import this file before the library, also in tests.
 */
if (!('getMetadata' in Reflect)) {
  const none = (): undefined => undefined;
  Object.assign(Reflect, { getMetadata: none, getOwnMetadata: none });
}
