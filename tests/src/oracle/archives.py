"""Holds two tar archives of one system against each other with Python's reader. Usage: archives.py BEFORE AFTER
What AFTER adds or changes must be one of the things that the recipe says."""

import hashlib, sys, tarfile

# Files that the recipe states, and the folders of its overlay.
CHANGED = {"/etc/hostname", "/etc/machine-id", "/etc", "/etc/systemd", "/etc/systemd/system"}
ADDED = ("/etc/systemd/system-generators", "/etc/systemd/system/serial-getty@ttyS0.service.d", "/usr/lib/modules", "/mnt")


def read(path):
    members, contents = {}, {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = "/" + member.name.strip("./").rstrip("/") if member.name.strip("./") else "/"
            if member.name.startswith("./."):
                name = "/" + member.name[2:]
            if member.isfile():
                contents[name] = hashlib.sha256(archive.extractfile(member).read()).hexdigest()
            members[name] = member
    found = {}
    for name, member in members.items():
        target, inode = member.linkname, member
        if member.islnk():
            target = "/" + member.linkname.removeprefix("./").lstrip("/")
            inode = members[target]
        kind = "f" if inode.isfile() else {b"2": "l", b"3": "c", b"4": "b", b"5": "d", b"6": "p"}[inode.type]
        xattrs = {key: value for key, value in inode.pax_headers.items() if key.startswith("SCHILY.xattr.")}
        content = contents.get(target if member.islnk() else name) if kind == "f" else inode.linkname
        device = (inode.devmajor, inode.devminor) if kind in "cb" else None
        mode = inode.mode if kind != "l" else None
        found[name] = (kind, mode, inode.uid, inode.gid, int(inode.mtime), xattrs, content, device)
    return found


before, after = read(sys.argv[1]), read(sys.argv[2])
problems = []
for name in sorted(before.keys() | after.keys()):
    if name in CHANGED:
        continue
    if name not in before:
        if not name.startswith(ADDED):
            problems.append(f"{name}: only after: {after[name]}")
    elif before[name] != after.get(name):
        problems.append(f"{name}: {before[name]} and {after.get(name)}")
if problems:
    sys.exit("\n".join(problems[:40] + [f"{len(problems)} differences"]))
print(f"{len(before)} members are the same")
