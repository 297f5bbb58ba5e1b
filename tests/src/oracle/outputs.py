"""Holds manifest.json and files.json of an output folder against what sfdisk, fsck.erofs, fsverity, mtools, objcopy,
zstd and cpio find in the image. Usage: outputs.py OUT ROOT-PARTITION ESP-PARTITION"""

import hashlib, json, os, stat, subprocess, sys, tempfile

out, root, esp = sys.argv[1:]


def ask(*command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, **more).stdout


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def file_of(name):
    with open(os.path.join(out, name), "rb") as file:
        return file.read()


def same(what, expected, found):
    if expected != found:
        sys.exit(f"{what}: the list says {expected!r}, found {found!r}")


manifest = json.loads(file_of("manifest.json"))

# Partitions and disk.
disk = os.path.join(out, "disk.img")
table = json.loads(ask("sfdisk", "--json", disk))["partitiontable"]
same("disk GUID", manifest["disk"]["guid"].lower(), table["id"].lower())
same("disk size", manifest["disk"]["size"], os.stat(disk).st_size)
same("number of partitions", len(manifest["partitions"]), len(table["partitions"]))
for listed, found in zip(manifest["partitions"], table["partitions"]):
    for what, expected, value in [
        ("offset", listed["offset"], found["start"] * 512),
        ("size", listed["size"], found["size"] * 512),
        ("type", listed["type_uuid"].lower(), found["type"].lower()),
        ("uuid", listed["uuid"].lower(), found["uuid"].lower()),
        ("name", listed["name"], found.get("name", "")),
    ]:
        same(f"{listed['role']}: {what}", expected, value)
root_hash = manifest["root"]["root_hash"]
by_role = {partition["role"]: partition for partition in manifest["partitions"]}
same("root PARTUUID", by_role["root"]["uuid"].replace("-", ""), root_hash[:32])
same("verity PARTUUID", by_role["root-verity"]["uuid"].replace("-", ""), root_hash[32:])
measured = ask("fsverity", "digest", "--compact", disk)
same("fs-verity digest of the disk", manifest["disk"]["fsverity"].removeprefix("sha256:"), measured.decode().strip())

# Policy, command line, ESP, boot artefact.
same("policy", manifest["policy"]["sha256"], sha256(file_of("policy.pol")))
same("signed policy", manifest["policy"]["p7b_sha256"], sha256(file_of("policy.p7b")))
same("root signature", manifest["root"]["signature_sha256"], sha256(file_of("root.p7s")))
same("command line", manifest["command_line"], file_of("cmdline.txt").decode().rstrip("\n"))
for listed in manifest["esp"]:
    found = ask("mtype", "-i", esp, "::" + listed["path"], env={**os.environ, "MTOOLS_SKIP_CHECK": "1"})
    same(listed["path"], (listed["size"], listed["sha256"]), (len(found), sha256(found)))

with tempfile.TemporaryDirectory() as work:
    artefact = os.path.join(work, "uki.efi")
    with open(artefact, "wb") as file:
        file.write(ask("mtype", "-i", esp, "::" + manifest["boot"]["path"], env={**os.environ, "MTOOLS_SKIP_CHECK": "1"}))
    same("boot artefact", manifest["boot"]["sha256"], sha256(open(artefact, "rb").read()))

    def section(name):
        to = os.path.join(work, name)
        ask("objcopy", "-O", "binary", f"--only-section=.{name}", artefact, to)
        return open(to, "rb").read()

    same(".cmdline", manifest["command_line"], section("cmdline").rstrip(b"\0").decode())

    # Initramfs: unpacked by zstd or xz, and cpio.
    packed = section("initrd")
    unpack = {b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zX": "xz", b"\x1f\x8b\x08\x00": "gzip"}.get(packed[:4])
    archive = ask(unpack, "-dc", input=packed) if unpack else packed
    tree = os.path.join(work, "initramfs")
    os.mkdir(tree)
    ask("cpio", "--extract", "--quiet", "--make-directories", "--no-preserve-owner", cwd=tree, input=archive)
    listed = {entry["path"].strip("/"): entry for entry in manifest["initramfs"]}
    names = ask("cpio", "--list", "--quiet", input=archive).decode().split("\n")[:-1]
    same("names in the initramfs", sorted(listed), sorted(name.strip("/") for name in names if name != "."))
    for name, entry in listed.items():
        found = os.lstat(os.path.join(tree, name))
        same(f"initramfs {name}: mode", entry["mode"], f"{stat.S_IMODE(found.st_mode):04o}")
        if entry["kind"] == "file":
            same(f"initramfs {name}", entry["sha256"], sha256(open(os.path.join(tree, name), "rb").read()))

    # Files: unpacked by fsck.erofs.
    tree = os.path.join(work, "root")
    ask("fsck.erofs", f"--extract={tree}", "--preserve" if os.geteuid() == 0 else "--no-preserve-owner", root)
    kinds = {stat.S_IFREG: "regular file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symbolic link"}
    files = json.loads(file_of("files.json"))
    regular, digests = [], {}
    seen = set()
    for entry in files:
        path = os.path.join(tree, entry["path"].lstrip("/"))
        found = os.lstat(path)
        seen.add(os.path.normpath(path))
        same(f"{entry['path']}: kind", entry["type"], kinds.get(stat.S_IFMT(found.st_mode), entry["type"]))
        if not stat.S_ISLNK(found.st_mode):
            same(f"{entry['path']}: mode", entry["mode"], f"{stat.S_IMODE(found.st_mode):04o}")
            same(f"{entry['path']}: time", entry["mtime"], int(found.st_mtime))
        if os.geteuid() == 0:
            same(f"{entry['path']}: owner", (entry["uid"], entry["gid"]), (found.st_uid, found.st_gid))
        if stat.S_ISREG(found.st_mode):
            with open(path, "rb") as file:
                data = file.read()
            same(f"{entry['path']}", (entry["size"], entry["sha256"]), (len(data), sha256(data)))
            regular.append((entry["path"], path, entry["fsverity"]))
        elif stat.S_ISLNK(found.st_mode):
            same(f"{entry['path']}: target", entry["target"], os.readlink(path))
    for folder, folders, names in os.walk(tree):
        for name in folders + names:
            path = os.path.normpath(os.path.join(folder, name))
            if path not in seen:
                sys.exit(f"{path[len(tree):]} is in the image and not in files.json")
    for start in range(0, len(regular), 500):
        part = regular[start : start + 500]
        lines = ask("fsverity", "digest", "--compact", *[path for _, path, _ in part]).decode().split()
        for (name, _, expected), found in zip(part, lines, strict=True):
            same(f"{name}: fs-verity", expected.removeprefix("sha256:"), found)
print(f"{len(files)} files, {len(listed)} entries of the initramfs, {len(table['partitions'])} partitions agree")
