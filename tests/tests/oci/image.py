"""Makes an OCI layout with one image of three layers for amd64 and one of a single layer for arm64.

usage: image.py FOLDER TEXT COMPRESSION COMPRESSION COMPRESSION   (of the three layers: none, gzip or zstd)

TEXT is in a file of the last layer, so that another text is another image. Devices and owners only where root makes it, who
alone can unpack them elsewhere.
"""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile

TIME = 1_000_000_000
ROOT = os.geteuid() == 0
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000").decode("latin-1")
OCI = "application/vnd.oci.image."


def member(name, kind=tarfile.REGTYPE, mode=0o644, text="", link="", owner=(0, 0), device=(0, 0), xattrs=None, time=TIME):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.mtime = kind, mode, link, time
    info.uid, info.gid = owner if ROOT else (0, 0)
    info.devmajor, info.devminor = device
    info.size = len(text)
    info.pax_headers = {"SCHILY.xattr." + name: value for name, value in (xattrs or {}).items()}
    return info, text.encode()


def folder(name, mode=0o755, **more):
    return member(name, tarfile.DIRTYPE, mode, **more)


def archive(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, encoding="latin-1") as tar:
        for info, body in members:
            tar.addfile(info, io.BytesIO(body))
    return out.getvalue()


FIRST = [
    folder("etc"),
    member("etc/passwd", text="root:x:0:0::/:/bin/sh\n"),
    member("etc/shadow", mode=0o640, owner=(0, 42), text="root:*:\n"),
    folder("usr"), folder("usr/bin"), folder("usr/lib"),
    member("usr/bin/tool", mode=0o4755, text="#!/bin/sh\n" * 1000),
    member("usr/bin/other-name", tarfile.LNKTYPE, link="usr/bin/tool"),
    member("usr/bin/ping", mode=0o755, text="ping", xattrs={"security.capability": CAPABILITY} if ROOT else {}),
    member("usr/lib/library", mode=0o755, text="\x7fELF" * 5000),
    member("usr/lib/taken-away", text="x"),
    member("lib", tarfile.SYMTYPE, 0o777, link="usr/lib"),
    member("dangling", tarfile.SYMTYPE, 0o777, link="/nowhere/at/all"),
    folder("home", 0o750, owner=(1000, 1000), time=TIME - 7),
    member("home/notes", mode=0o600, owner=(1000, 1000), text="notes", xattrs={"user.comment": "kept"}),
    folder("sticky", 0o1777),
    folder("opaque"), member("opaque/old", text="old"), folder("opaque/deep"), member("opaque/deep/old", text="old"),
    folder("half"), member("half/stays", text="stays"), member("half/goes", text="goes"),
    folder("goes"), folder("goes/deep"), member("goes/deep/file", text="x"),
    member("turns-into-folder", text="x"),
    folder("turns-into-file"), member("turns-into-file/x", text="x"),
    folder("elsewhere"), member("elsewhere/spared", text="spared"), member("shortcut", tarfile.SYMTYPE, 0o777, link="elsewhere"),
    member("pipe", tarfile.FIFOTYPE, 0o600),
    member("big", text="0123456789abcdef" * 20000),
]
if ROOT:
    FIRST += [
        folder("dev"),
        member("dev/null", tarfile.CHRTYPE, 0o666, device=(1, 3)),
        member("dev/disk", tarfile.BLKTYPE, 0o660, owner=(0, 6), device=(259, 70000)),
    ]

SECOND = [
    member(".wh.goes"),
    member("half/.wh.goes"), member("half/comes", text="comes"),
    folder("opaque", 0o700), member("opaque/.wh..wh..opq"), member("opaque/new", text="new"),
    # Through the link of the layer below.
    member("lib/added", text="added"), member("lib/.wh.taken-away"),
    # Across layers.
    member("usr/bin/third-name", tarfile.LNKTYPE, link="usr/bin/tool"),
    folder("turns-into-folder"), member("turns-into-folder/x", text="x"),
    member("turns-into-file", text="x"),
    # A folder in place of a link: what the link led to stays as it was.
    folder("shortcut"), member("shortcut/own", text="own"),
    member("etc/passwd", text="root:x:0:0::/root:/bin/sh\n", xattrs={"user.changed": "yes"}),
]


def third(text):
    return [
        folder("home", 0o711, owner=(1000, 1000), xattrs={"user.folder": "yes"}),
        member("opaque/newer", text="newer"),
        member("half/.wh.comes"),
        # One of three names is another file now; the others keep the old one.
        member("usr/bin/other-name", mode=0o755, text="other"),
        member("etc/motd", text=text),
    ]


class Layout:
    def __init__(self, path):
        self.path = path
        os.makedirs(os.path.join(path, "blobs/sha256"))

    def blob(self, kind, data):
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(self.path, "blobs/sha256", digest), "wb") as file:
            file.write(data)
        return {"mediaType": OCI + kind, "digest": "sha256:" + digest, "size": len(data)}

    def document(self, kind, document):
        return self.blob(kind, json.dumps(document).encode())

    def layer(self, plain, compression):
        if compression == "gzip":
            return self.blob("layer.v1.tar+gzip", gzip.compress(plain, mtime=0))
        if compression == "zstd":
            packed = subprocess.run(["zstd", "-q", "-c"], input=plain, stdout=subprocess.PIPE, check=True).stdout
            return self.blob("layer.v1.tar+zstd", packed)
        return self.blob("layer.v1.tar", plain)

    def image(self, architecture, layers, compressions):
        diff_ids = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
        config = self.document("config.v1+json", {
            "architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "config": {"Labels": {"org.opencontainers.image.version": "1.0"}},
        })
        manifest = self.document("manifest.v1+json", {
            "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": config,
            "layers": [self.layer(layer, compression) for layer, compression in zip(layers, compressions)],
        })
        return manifest | {"platform": {"architecture": architecture, "os": "linux"}}


def main():
    path, text, *compressions = sys.argv[1:]
    layout = Layout(path)
    layers = [archive(FIRST), archive(SECOND), archive(third(text))]
    amd64 = layout.image("amd64", layers, compressions)
    arm64 = layout.image("arm64", [archive([member("arm64", text="arm64")])], compressions)
    index = layout.document("index.v1+json", {
        "schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [arm64, amd64],
    })
    named = lambda image, name: image | {"annotations": {"org.opencontainers.image.ref.name": name}}
    with open(os.path.join(path, "oci-layout"), "w") as file:
        file.write('{"imageLayoutVersion": "1.0.0"}')
    with open(os.path.join(path, "index.json"), "w") as file:
        json.dump({"schemaVersion": 2, "manifests": [named(index, "app"), named(amd64, "amd64")]}, file)


main()
