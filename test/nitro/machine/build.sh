#!/usr/bin/env bash
# Builds the emulated Nitro machine into a folder of its own, from Debian packages alone: QEMU's nitro-enclave machine
# from trixie's source, its libraries and firmware, trixie's cloud kernel with the modules that guests load, and
# vhost-device-vsock from sid. Nothing is installed on this machine: it happens in a chroot, which is removed.
#
#   build.sh OUTDIR      OUTDIR must not exist; it appears complete or not at all
#
# Needs root, debootstrap, about 4 GB of disk while it works, and some five minutes on two cores.
# QV_DEBIAN_MIRROR: default http://deb.debian.org/debian
set -euo pipefail

out=${1:?usage: build.sh OUTDIR}
mirror=${QV_DEBIAN_MIRROR:-http://deb.debian.org/debian}
work=$out.work
root=$work/chroot

stop() {
  echo "machine: $*" >&2
  exit 1
}
say() { echo "machine: $*" >&2; }

[ "$(id -u)" -eq 0 ] || stop "debootstrap needs root"
command -v debootstrap >/dev/null || stop "debootstrap is not installed (Debian package debootstrap)"
[ ! -e "$out" ] || stop "$out exists"
mkdir -p "$(dirname "$out")"
# One builder at a time; the next one finds the work done.
exec 9>"$out.lock"
flock 9
[ ! -e "$out" ] || exit 0
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

say "trixie with a compiler, from $mirror"
packages=gcc,libc6-dev,pkg-config,ninja-build,meson,make,patch,xz-utils,python3-venv,python3-packaging,python3-pycotap
packages+=,flex,bison,libglib2.0-dev,libpixman-1-dev,libcbor-dev,libgnutls28-dev,libfdt-dev,zlib1g-dev,dpkg-dev
packages+=,ca-certificates,seabios,qemu-system-data
debootstrap --variant=minbase --include="$packages" trixie "$root" "$mirror" >"$work/debootstrap.log" 2>&1 || {
  tail -n 5 "$work/debootstrap.log" >&2
  stop "debootstrap failed"
}
cp /etc/resolv.conf "$root/etc/resolv.conf"
cat >"$root/etc/apt/sources.list" <<SOURCES
deb $mirror trixie main
deb-src $mirror trixie main
deb [check-valid-until=no] $mirror sid main
SOURCES
# sid lends one package; everything else stays trixie's.
printf 'Package: *\nPin: release n=sid\nPin-Priority: 1\n' >"$root/etc/apt/preferences.d/sid"

cat >"$root/root/build.sh" <<'BUILD'
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
cd /root
apt-get -qq update
apt-get -qq source --download-only qemu
dpkg-source --no-check -x qemu_*.dsc qemu
cd qemu

# QEMU's security module does not sign. Its documents say so in two ways that no document of AWS has: algorithm -1
# and a signature of 64 bytes. The production enclave reads the time of its own documents by AWS's format, so these
# two get AWS's form: algorithm -35 (ES384) and 96 bytes, still all zero. Certificates stay zero bytes, too.
nsm=hw/virtio/virtio-nsm.c
sed -i '/^static bool add_protected_header_to_cose/,/^}/s/cbor_set_uint8(value, 0)/cbor_set_uint8(value, 34)/' $nsm
sed -i '/^static bool add_signature_to_cose/,/^}/s/\b64\b/96/g' $nsm
sed -n '/^static bool add_protected_header_to_cose/,/^}/p' $nsm | grep -q 'cbor_set_uint8(value, 34)'
sed -n '/^static bool add_signature_to_cose/,/^}/p' $nsm | grep -q 'cbor_build_bytestring(zero, 96)'

for device in NITRO_ENCLAVE MICROVM Q35 VIRTIO_PCI VIRTIO_MMIO VHOST_USER_VSOCK VIRTIO_NSM SERIAL_ISA VIRTIO_SERIAL \
  VIRTIO_RNG; do
  echo "CONFIG_$device=y"
done >configs/devices/x86_64-softmmu/nitro.mak
printf 'CONFIG_%s=n\n' ISAPC I440FX >>configs/devices/x86_64-softmmu/nitro.mak
mkdir build
cd build
../configure --target-list=x86_64-softmmu --without-default-features --without-default-devices \
  --with-devices-x86_64=nitro --enable-tcg --enable-gnutls --enable-libcbor --enable-vhost-user --enable-pixman \
  --disable-kvm --disable-user --disable-tools --disable-docs --disable-guest-agent --disable-slirp --disable-werror \
  --disable-download --disable-install-blobs
ninja qemu-system-x86_64
strip qemu-system-x86_64

cd /root
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*-cloud-amd64\)$/\1/p' | head -n 1)
apt-get -qq download "$kernel" vhost-device-vsock/sid
dpkg-deb -x "$kernel"_*.deb kernel
dpkg-deb -x vhost-device-vsock_*.deb vsock
{
  for package in "$kernel" vhost-device-vsock; do
    echo "$package $(dpkg-deb -f "$package"_*.deb Version)"
  done
  echo "qemu $(dpkg-parsechangelog -l qemu/debian/changelog -S Version)"
} >versions
BUILD
say "QEMU from source; some minutes"
chroot "$root" /bin/bash /root/build.sh >"$work/build.log" 2>&1 || {
  tail -n 30 "$work/build.log" >&2
  stop "the build failed"
}

say "collecting"
new=$work/new
mkdir -p "$new/bin" "$new/lib" "$new/firmware" "$new/modules"
cp "$root/root/qemu/build/qemu-system-x86_64" "$root/root/vsock/usr/bin/vhost-device-vsock" "$new/bin/"
# The libraries of both programs and the loader that they start with: this machine's own may be older.
for program in /root/qemu/build/qemu-system-x86_64 /root/vsock/usr/bin/vhost-device-vsock; do
  chroot "$root" ldd "$program" | grep -o '/[^ ]*'
done | sort -u | while read -r library; do cp -L "$root$library" "$new/lib/"; done
for file in bios-256k.bin bios-microvm.bin; do cp -L "$root/usr/share/seabios/$file" "$new/firmware/"; done
for file in linuxboot_dma.bin kvmvapic.bin; do
  cp -L "$(find "$root/usr/share/qemu" "$root/usr/share/seabios" -name $file | head -n 1)" "$new/firmware/"
done
cp "$root"/root/kernel/boot/vmlinuz-* "$new/vmlinuz"
release=$(basename "$root"/root/kernel/boot/vmlinuz-*)
release=${release#vmlinuz-}
cp "$root"/root/kernel/boot/config-* "$new/kernel-config"
# In the order in which they load; what is missing is built into the kernel.
find "$root/root/kernel" -name '*.ko*' >"$work/modules"
for module in rng-core virtio virtio_ring virtio_mmio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci nsm vsock \
  vmw_vsock_virtio_transport_common vmw_vsock_virtio_transport; do
  file=$(grep -E "/$module\.ko(\.xz)?$" "$work/modules" || true)
  case $file in
    '') ;;
    *.xz) chroot "$root" xz -dc "${file#"$root"}" >"$new/modules/$module.ko" ;;
    *) cp "$file" "$new/modules/" ;;
  esac
done
for needed in nsm vmw_vsock_virtio_transport; do
  [ -s "$new/modules/$needed.ko" ] || stop "linux $release has no module $needed"
done
cp "$root/root/versions" "$new/versions"
mv "$new" "$out"
say "built $out"
