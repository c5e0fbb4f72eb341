import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { confirmByTyping } from '@quantumvault/host/cli/confirm.ts';
import { describe, expect, test } from 'vitest';
import { expectCode } from '../../support/codes.ts';

const question = {
  what: 'Ending it cannot be taken back:',
  consequences: ['It is gone.', 'For good.'],
  word: 'wallet',
};

function scene(isTTY = true) {
  const keyboard = Object.assign(new PassThrough(), { isTTY });
  const screen = new PassThrough();
  return { keyboard, screen, asked: () => confirmByTyping(question, screen, keyboard) };
}

describe('what cannot be taken back', () => {
  test('is said before it is asked, and done when the word is typed', async () => {
    const { keyboard, screen, asked } = scene();
    const confirmed = asked();
    keyboard.write(' wallet \n');
    await confirmed;
    screen.end();
    expect(await text(screen)).toBe(
      'Ending it cannot be taken back:\n  It is gone.\n  For good.\nType wallet to go on: ',
    );
  });

  test.each([['\n'], ['y\n'], ['wallets\n'], ['no\nwallet\n'], ['']])('is not done for %j', async (typed) => {
    const { keyboard, asked } = scene();
    const confirmed = asked();
    keyboard.end(typed);
    expect((await expectCode(confirmed, 'usage_invalid')).facts.value).toBe('not confirmed: nothing was done');
  });

  test('is not done where nobody can be asked, and nothing is printed there', async () => {
    const { keyboard, screen, asked } = scene(false);
    keyboard.write('wallet\n');
    expect((await expectCode(asked(), 'usage_invalid')).facts.value).toContain('--yes');
    screen.end();
    expect(await text(screen)).toBe('');
  });
});
