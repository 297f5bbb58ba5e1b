//! `graven policy eval` as its user meets it: on an image, and on a folder with files that will not run.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use graven_tests::program::{Said, run_in};
use graven_tests::{image, inputs};
use graven_verify::survey::Code;
use serde_json::Value;

fn eval(folder: &Path, words: &[&str]) -> Said {
    run_in(folder, image::graven(), [&["policy", "eval"], words].concat())
}

fn json(folder: &Path, words: &[&str]) -> Value {
    let said = eval(folder, &[words, &["--json"]].concat());
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}{}", said.out, said.err))
}

/// Each decision about a file as `HOOK allowed|denied`.
fn decisions(report: &Value, path: &str) -> Vec<String> {
    let all = report["decisions"].as_array().expect("a list");
    let told = |decision: &Value| {
        let action = if decision["allowed"] == true { "allowed" } else { "denied" };
        format!("{} {action}", decision["hook"].as_str().expect("a name"))
    };
    all.iter().filter(|decision| decision["path"] == path).map(told).collect()
}

#[test]
fn an_image_may_run_all_that_is_on_its_root_and_nothing_from_elsewhere() {
    let out = image::minimal();
    let words = [out.to_str().unwrap()];
    let root = json(out, &words);
    let own: Vec<&Value> = root["decisions"].as_array().unwrap().iter().collect();
    assert!(own.len() > 20, "the image has programs, scripts and modules");
    let manifest: Value = serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
    let hash = manifest["root"]["root_hash"].as_str().unwrap();
    for decision in &own {
        let allowed = decision["hook"] != "KERNEL_LOAD";
        assert_eq!(decision["allowed"], allowed, "{decision}");
        let rule = decision["rule"].as_str().unwrap();
        let expected = match allowed {
            true => format!(
                "op={} dmverity_roothash=sha256:{hash} action=ALLOW",
                decision["op"].as_str().unwrap()
            ),
            false => "DEFAULT action=DENY".to_owned(),
        };
        assert_eq!(rule, expected);
    }
    let said = eval(out, &words);
    assert_eq!(said.status, 0, "{}", said.out);
    assert!(
        said.out
            .lines()
            .any(|line| line.starts_with("allowed EXECUTE         /usr/bin/busybox  op=EXECUTE "))
    );

    for place in ["tmpfs", "state", "overlay-upper", "memfd", "initramfs"] {
        let there = json(out, &[words[0], "--where", place]);
        let all = there["decisions"].as_array().unwrap();
        assert_eq!(all.len(), own.len(), "{place}");
        assert!(all.iter().all(|decision| decision["allowed"] == false), "{place}");
        assert_eq!(
            json(out, &[words[0], "--where", place, "--only", "allowed"])["decisions"],
            Value::Array(Vec::new())
        );
    }
    let over = json(out, &[words[0], "--where", "overlay"]);
    assert_eq!(over["decisions"], root["decisions"], "below an overlay the same files are asked about");
}

#[test]
fn what_is_told_can_be_narrowed() {
    let out = image::minimal();
    let image = out.to_str().unwrap();
    let busybox = json(out, &[image, "--path", "/usr/bin/busybox"]);
    assert_eq!(
        decisions(&busybox, "/usr/bin/busybox"),
        ["BPRM_CHECK allowed", "BPRM_CREDS_FOR_EXEC allowed", "MMAP allowed", "MPROTECT allowed"]
    );
    assert_eq!(busybox["decisions"].as_array().unwrap().len(), 4, "a path is no prefix");
    let old = json(out, &[image, "--path", "/usr/bin/busybox", "--kernel", "6.18"]);
    assert_eq!(old["decisions"].as_array().unwrap().len(), 3, "6.18 does not ask IPE about scripts");
    let modules = json(out, &[image, "--op", "kmodule", "--hook", "KERNEL_LOAD"]);
    let all = modules["decisions"].as_array().unwrap();
    assert!(!all.is_empty() && all.iter().all(|one| one["kind"] == "module" && one["allowed"] == false));
    for (words, status) in [
        (&[image, "--op", "RUN"][..], 2),
        (&[image, "--where", "home"], 2),
        (&[image, "--signed"], 2),
        (&["nowhere.img"], 3),
        (&["."], 2),
    ] {
        let folder = image::folder();
        assert_eq!(eval(folder.path(), words).status, status, "{words:?}");
    }
}

fn write(root: &Path, path: &str, mode: u32, contents: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("folders can be made");
    fs::write(&path, contents).expect("files can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("modes can be set");
}

/// Compiles C for this machine into a file of the root.
fn compile(root: &Path, path: &str, source: &str, words: &[&str]) {
    write(root, path, 0o755, "");
    let source_file = root.with_extension("c");
    fs::write(&source_file, source).expect("files can be written");
    let output = Command::new("gcc")
        .args(["-O1", "-w", "-o"])
        .arg(root.join(path))
        .arg(&source_file)
        .args(words)
        .output()
        .expect("gcc can be started: run tests/setup.sh");
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
}

const MAIN: &str = "int main(void) { return 0; }";

/// A root whose every file has one fault, or none.
fn faulty() -> tempfile::TempDir {
    let folder = image::folder();
    let root = &folder.path().join("root");
    write(root, "usr/bin/sh", 0o755, inputs::member(&inputs::busybox(), "./usr/bin/busybox"));
    symlink("usr/bin", root.join("bin")).expect("links can be made");
    let shell = fs::read(root.join("usr/bin/sh")).expect("it was written");
    write(root, "usr/bin/good", 0o755, "#!/bin/sh -e\n");
    write(root, "usr/bin/nowhere", 0o755, "#!/usr/bin/perl\n");
    write(root, "usr/bin/dos", 0o755, "#!/bin/sh\r\n");
    write(root, "usr/bin/long", 0o755, format!("#!/{}\n", "x".repeat(300)));
    write(root, "usr/bin/empty", 0o755, "#!\n");
    write(root, "usr/bin/env", 0o755, shell);
    write(root, "usr/bin/no-python", 0o755, "#!/usr/bin/env python3\n");
    write(root, "usr/lib/plain.sh", 0o644, "#!/bin/sh\n");
    write(root, "usr/bin/data", 0o755, "no program\n");
    write(root, "usr/bin/by-data", 0o755, "#!/usr/bin/data\n");
    write(root, "usr/bin/chain1", 0o755, "#!/bin/sh\n");
    for number in 2..=6 {
        write(root, &format!("usr/bin/chain{number}"), 0o755, format!("#!/bin/chain{}\n", number - 1));
    }
    compile(root, "usr/bin/stack", MAIN, &["-static", "-z", "execstack"]);
    let alone = "void _start(void) { for (;;); }";
    compile(root, "usr/bin/rwx", alone, &["-static", "-nostdlib", "-Wl,--omagic"]);
    compile(root, "usr/bin/dynamic", MAIN, &[]);
    let check = "#define _GNU_SOURCE\n#include <sys/prctl.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n\
                 int main(void) { return prctl(PR_GET_SECUREBITS) + ";
    let by_name = format!("{check}execveat(0, \"\", 0, 0, 0x11000); }}");
    let by_number = format!("{check}syscall(SYS_execveat, 0, \"\", 0, 0, 0x11000); }}");
    compile(root, "usr/bin/asks", &by_name, &["-static"]);
    compile(root, "usr/bin/asks-by-number", &by_number, &["-static"]);
    compile(
        root,
        "usr/bin/only-executes",
        "#define _GNU_SOURCE\n#include <unistd.h>\n\
            int main(void) { return execveat(0, \"\", 0, 0, 0x1000); }",
        &["-static"],
    );
    write(root, "usr/bin/asked", 0o755, "#!/usr/bin/asks\n");
    write(root, "usr/bin/chained", 0o755, "#!/usr/bin/asked\n");
    write(
        root,
        "usr/lib/binfmt.d/x.conf",
        0o644,
        ":x:M::x::/usr/bin/only-executes:\n:y:E::y::/usr/bin/asks-by-number:\n",
    );
    let text = "asm(\".text\\n.globl f\\nf: .quad f\\n\");";
    compile(root, "usr/lib/libtext.so", text, &["-shared", "-nostdlib", "-Wl,-z,notext"]);
    let asks = fs::read(root.join("usr/bin/asks")).expect("it was compiled");
    write(root, "usr/bin/suid", 0o4755, &asks);
    write(root, "usr/bin/node", 0o755, &asks);
    write(
        root,
        "usr/lib/systemd/system/volume.service",
        0o644,
        "[Service]\nExecStart=-/usr/sbin/cryptsetup open x y\n",
    );
    write(root, "usr/lib/modules/7.3/kernel/x.ko.xz", 0o644, "module");
    write(root, "usr/lib/firmware/x.bin", 0o644, "firmware");
    write(root, "boot/vmlinuz-7.3", 0o644, "kernel");
    let policy = "policy_name=p policy_version=1.0.0\nDEFAULT action=DENY\n\
                  op=EXECUTE dmverity_signature=TRUE action=ALLOW\nDEFAULT op=KMODULE action=ALLOW\n";
    fs::write(folder.path().join("p.pol"), policy).expect("files can be written");
    folder
}

#[test]
fn what_will_not_run_is_found_in_each_file_and_in_no_other() {
    let folder = faulty();
    let report = json(folder.path(), &["root", "--policy", "p.pol"]);
    let found: Vec<(String, String)> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            (finding["path"].as_str().unwrap().to_owned(), finding["code"].as_str().unwrap().to_owned())
        })
        .collect();
    let expected = [
        ("/usr/bin/by-data", Code::BadInterpreter),
        ("/usr/bin/chain6", Code::BadInterpreter),
        ("/usr/bin/dos", Code::NoInterpreter),
        ("/usr/bin/dynamic", Code::NoInterpreter),
        ("/usr/bin/dynamic", Code::NoLibrary),
        ("/usr/bin/empty", Code::BadLine),
        ("/usr/bin/long", Code::BadLine),
        ("/usr/bin/no-python", Code::NoInterpreter),
        ("/usr/bin/node", Code::CodeMaker),
        ("/usr/bin/nowhere", Code::NoInterpreter),
        ("/usr/bin/rwx", Code::WritableCode),
        ("/usr/bin/stack", Code::ExecutableStack),
        ("/usr/bin/suid", Code::SetId),
        ("/usr/lib/libtext.so", Code::TextRelocations),
        ("/usr/lib/plain.sh", Code::NoExecBit),
        ("/usr/lib/systemd/system/volume.service", Code::NeedsTaken),
    ];
    let expected: Vec<(String, String)> =
        expected.iter().map(|(path, code)| ((*path).to_owned(), code.to_string())).collect();
    assert_eq!(found, expected);
    assert_eq!(eval(folder.path(), &["root", "--policy", "p.pol"]).status, 1);
}

#[test]
fn interpreters_are_told_by_whether_they_can_ask_and_what_they_run() {
    let folder = faulty();
    let report = json(folder.path(), &["root", "--policy", "p.pol"]);
    let interpreter = |path: &str| {
        let all = report["interpreters"].as_array().unwrap();
        all.iter().find(|one| one["path"] == path).unwrap_or_else(|| panic!("{path}: {all:#?}")).clone()
    };
    let shell = interpreter("/usr/bin/sh");
    assert_eq!(shell["asking"], "never asks");
    assert_eq!(
        shell["scripts"],
        serde_json::json!([
            "/usr/bin/chain1",
            "/usr/bin/chain2",
            "/usr/bin/chain3",
            "/usr/bin/chain4",
            "/usr/bin/chain5",
            "/usr/bin/good",
            "/usr/lib/plain.sh"
        ]),
        "those too whose interpreter is a script for it, as far as the kernel goes"
    );
    assert_eq!(interpreter("/usr/bin/node")["makes_system_calls"], true);
}

#[test]
fn what_an_interpreter_shows_of_asking_is_read_from_its_code() {
    let folder = faulty();
    let root = &folder.path().join("root");
    let scripts = |words: &[&str]| {
        run_in(folder.path(), image::graven(), [&["policy", "scripts", "root"], words].concat())
    };
    let report: Value = serde_json::from_str(&scripts(&["--json"]).out).expect("it is JSON");
    let interpreter = |path: &str| {
        let all = report["interpreters"].as_array().unwrap();
        all.iter().find(|one| one["path"] == path).unwrap_or_else(|| panic!("{path}: {all:#?}")).clone()
    };
    for (path, asking, securebits) in [
        ("/usr/bin/asks", "asks", true),
        ("/usr/bin/asks-by-number", "asks", true),
        ("/usr/bin/only-executes", "could ask", false),
        ("/usr/bin/sh", "never asks", false),
    ] {
        let found = interpreter(path);
        assert_eq!(
            (found["asking"].as_str(), found["evidence"]["securebits"].as_bool()),
            (Some(asking), Some(securebits)),
            "{path}: {found}"
        );
    }
    assert_eq!(
        interpreter("/usr/bin/asks")["scripts"],
        serde_json::json!(["/usr/bin/asked", "/usr/bin/chained"])
    );
    assert_eq!(interpreter("/usr/bin/sh")["without_exec_bit"], serde_json::json!(["/usr/lib/plain.sh"]));
    let said = scripts(&[]);
    assert_eq!(said.status, 0);
    assert!(
        said.out.contains("/usr/bin/only-executes: could ask, never reads the securebits\n"),
        "{}",
        said.out
    );
    assert!(said.out.contains("    runs         /usr/bin/chained\n"), "{}", said.out);
    assert_eq!(scripts(&["--strict"]).status, 1, "not all of them ask");

    // What an interpreter that asks is refused, and where scripts could be put.
    write(root, "usr/bin/python3", 0o4755, fs::read(root.join("usr/bin/asks")).unwrap());
    write(root, "usr/lib/python3/os.py", 0o644, "pass\n");
    write(root, "usr/lib/python3/sys.py", 0o755, "pass\n");
    write(
        root,
        "etc/fstab",
        0o644,
        "tmpfs /srv tmpfs nosuid 0 0\ntmpfs /safe tmpfs noexec 0 0\n# x /y z w\n",
    );
    write(
        root,
        "usr/lib/systemd/system/tmp.mount",
        0o644,
        "[Mount]\nWhat=tmpfs\nWhere=/tmp\nType=tmpfs\nOptions=nosuid,nodev\n",
    );
    let report: Value = serde_json::from_str(&scripts(&["--json"]).out).expect("it is JSON");
    let found: Vec<(&str, &str)> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| (finding["code"].as_str().unwrap(), finding["path"].as_str().unwrap()))
        .collect();
    let expected = [
        ("RUN-13", "/etc/fstab"),
        ("RUN-12", "/usr/bin/python3"),
        ("RUN-14", "/usr/bin/python3"),
        ("RUN-11", "/usr/lib/plain.sh"),
        ("RUN-13", "/usr/lib/systemd/system/tmp.mount"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_folder_is_judged_by_the_device_that_it_is_to_lie_on() {
    let folder = faulty();
    let hash = "5a".repeat(32);
    let words = ["root", "--policy", "p.pol", "--root-hash", &hash];
    let [unsigned, signed] =
        [&words[..], &[&words[..], &["--signed"]].concat()].map(|words| json(folder.path(), words));
    assert_eq!(decisions(&unsigned, "/usr/bin/good")[0], "BPRM_CHECK denied");
    assert_eq!(decisions(&signed, "/usr/bin/good")[0], "BPRM_CHECK allowed");
    let module = "/usr/lib/modules/7.3/kernel/x.ko.xz";
    assert_eq!(
        decisions(&unsigned, module),
        ["KERNEL_READ allowed", "KERNEL_LOAD allowed"],
        "by its default"
    );
    assert_eq!(decisions(&signed, "/usr/lib/firmware/x.bin")[0], "KERNEL_READ denied");
    assert_eq!(decisions(&signed, "/boot/vmlinuz-7.3")[0], "KERNEL_READ denied");
    assert_eq!(decisions(&signed, "/usr/bin/data"), [""; 0], "nothing asks about data");
}

#[test]
fn docs_list_every_finding() {
    let page = fs::read_to_string(inputs::project().join("docs/policy.md")).unwrap();
    for code in Code::ALL {
        let row = format!("| {code} | {} | {} | {} |\n", code.name(), code.severity(), code.meaning());
        assert!(page.contains(&row), "docs/policy.md lacks: {row}");
    }
}
