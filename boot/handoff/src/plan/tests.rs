use super::*;
use crate::identity::RootHash;

fn uuid(byte: u8) -> PartUuid {
    PartUuid([byte; 16])
}

fn small() -> Plan {
    Plan {
        image: "minimal 1.0".to_owned(),
        policy: PolicyIdentity { name: "appliance".to_owned(), version: PolicyVersion(1, 0, 0) },
        compiled_in_policy: None,
        successor: None,
        enforcement: Enforcement::Enforce,
        secure_boot: SecureBoot::Required,
        kernel_lockdown: KernelLockdown::Integrity,
        security_modules: vec![],
        additions: vec![],
        module_parameters: vec![],
        wait_seconds: 30,
        root: Verified {
            file_system: "erofs".to_owned(),
            options: String::new(),
            signature_partition: uuid(3),
            verity: Verity {
                algorithm: Algorithm::Sha256,
                data_block_size: 4096,
                hash_block_size: 4096,
                data_blocks: 1000,
                hash_start: 1,
                salt: vec![],
                superblock_uuid: uuid(9),
                on_corruption: OnCorruption::Error,
                fec: None,
            },
        },
        volumes: vec![],
        mounts: vec![],
        state: None,
        clock_not_before: 1_795_338_000,
        relaxed: vec![],
        hardening: vec![],
        on_failure: OnFailure::Reboot,
        init: Init { path: "/sbin/init".to_owned(), arguments: vec![], environment: vec![] },
    }
}

fn volume(name: &str, image: &Verified) -> Volume {
    Volume {
        name: name.to_owned(),
        target: format!("/opt/{name}"),
        programs: if name == "shop" { Programs::Exec } else { Programs::Noexec },
        root_hash: RootHash::new(&[name.len() as u8; 32]).unwrap(),
        image: image.clone(),
    }
}

fn full() -> Plan {
    let mut plan = small();
    plan.compiled_in_policy =
        Some(PolicyIdentity { name: "graven-boot".to_owned(), version: PolicyVersion(0, 0, 65535) });
    plan.security_modules = vec!["ipe".to_owned(), "yama".to_owned()];
    plan.additions = vec![
        Addition::Before("BOOT_IMAGE=/x ".to_owned()),
        Addition::After(" a=b".to_owned()),
        Addition::After(" ".to_owned()),
    ];
    plan.module_parameters = vec![ModuleParameter {
        module: "dm_verity".to_owned(),
        name: "require_signatures".to_owned(),
        value: "1".to_owned(),
    }];
    plan.root.options = "dax=never,x".to_owned();
    plan.root.verity.salt = vec![0xab; 256];
    plan.root.verity.fec = Some(Fec { roots: 2, blocks: 1009, start: 9, partition: Some(uuid(7)) });
    plan.volumes = ["shop", "0-9"].map(|name| volume(name, &plan.root)).to_vec();
    plan.mounts = vec![
        Mount {
            source: MountSource::Partition(uuid(5)),
            target: "/var".to_owned(),
            file_system: "ext4".to_owned(),
            options: "noatime,exec".to_owned(),
            on_damage: OnDamage::Volatile,
            contents: Contents::Empty,
        },
        Mount {
            source: MountSource::None,
            target: "/tmp".to_owned(),
            file_system: "tmpfs".to_owned(),
            options: String::new(),
            on_damage: OnDamage::Fail,
            contents: Contents::Image,
        },
    ];
    plan.successor = Some("/var/log/policy.p7b".to_owned());
    plan.state = Some(State {
        partition: uuid(8),
        size: StateSize::Grow,
        if_damaged: IfDamaged::Volatile,
        persist: vec!["/etc/machine-id".to_owned(), "/var/log".to_owned()],
        exec: vec!["/var/log".to_owned()],
        seed: Some(Seed { when: SeedTime::Always, wait_seconds: 300 }),
    });
    plan.relaxed = Relaxation::ALL
        .iter()
        .map(|what| Relaxed { what: *what, reason: format!("because = {what}") })
        .collect();
    plan.hardening = Hardening::ALL.to_vec();
    plan.init.arguments = vec![String::new(), " --unit=x.target ".to_owned(), "é".to_owned()];
    plan.init.environment = vec![("PATH".to_owned(), "/a:/b".to_owned()), ("E".to_owned(), String::new())];
    plan
}

#[test]
fn a_plan_survives_its_text() {
    for plan in [small(), full()] {
        assert_eq!(Plan::parse(&plan.render().unwrap()), Ok(plan));
    }
}

#[test]
fn every_missing_single_key_is_named() {
    let text = small().render().unwrap();
    for (index, line) in text.lines().enumerate() {
        let key = line.split('=').next().unwrap();
        let without: String =
            text.lines().enumerate().filter(|(i, _)| *i != index).map(|(_, l)| format!("{l}\n")).collect();
        let error = Plan::parse(&without).unwrap_err();
        assert_eq!((error.key.as_str(), error.problem), (key, Problem::Missing));
    }
}

#[test]
fn every_line_given_twice_is_refused_with_both_numbers() {
    let text = full().render().unwrap();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("init.argument=") {
            continue;
        }
        let error = Plan::parse(&format!("{text}{line}\n")).unwrap_err();
        assert_eq!(error.line, Some(text.lines().count() + 1), "{line}");
        assert_eq!(error.problem, Problem::Twice(index + 1), "{line}");
    }
}

#[test]
fn unknown_keys_and_broken_lines_are_refused() {
    let text = small().render().unwrap();
    let error = Plan::parse(&format!("{text}policy.nam=x\n")).unwrap_err();
    assert_eq!(error.to_string(), "plan, line 23: policy.nam: unknown key");
    for broken in [format!("{text}\n"), format!("{text}harden\n"), format!("{text}harden=modules-disabled")] {
        assert_eq!(Plan::parse(&broken).unwrap_err().problem, Problem::NoLine, "{broken}");
    }
    assert_eq!(Plan::parse("").unwrap_err().to_string(), "plan: graven-plan: missing");
}

#[test]
fn every_bad_value_is_refused_with_its_line() {
    let text = full().render().unwrap();
    for bad in [
        "graven-plan=2",
        "policy.name=a/b",
        "policy.name=..",
        "policy.name=",
        "policy.version=1.0",
        "image=",
        "policy.enforcement=on",
        "secure-boot=yes",
        "kernel-lockdown=",
        "security-module=a b",
        "wait-seconds=0",
        "wait-seconds=+1",
        "wait-seconds=99999",
        "root.file-system=",
        "root.options=a b",
        "root.signature-partition=1",
        "verity.algorithm=sha1",
        "verity.data-block-size=1000",
        "verity.hash-block-size=256",
        "verity.data-blocks=0",
        "verity.data-blocks=-1",
        "verity.hash-start=0",
        "verity.salt=A",
        "verity.superblock-uuid=x",
        "verity.on-corruption=ignore",
        "verity.fec=1 2 3 hash",
        "verity.fec=2 2 3",
        "volume=Shop /opt exec ROOT",
        "volume=root /opt exec ROOT",
        "volume=shop / exec ROOT",
        "volume=shop /opt maybe ROOT",
        "volume=shop /opt exec 00",
        "volume=shop /opt exec",
        "volume.shop.verity.data-blocks=0",
        "mount=none tmp tmpfs - fail empty",
        "mount=none / tmpfs - fail empty",
        "mount=none /a/../b tmpfs - fail empty",
        "mount=none /t tmpfs - maybe empty",
        "mount=x /t ext4 - fail empty",
        "mount=none /t tmpfs  fail empty",
        "mount=none /t tmpfs - fail full",
        "mount=none /t tmpfs - fail",
        "state.partition=x",
        "state.size=1G",
        "state.if-damaged=ignore",
        "state.persist=var",
        "state.persist=/a:b",
        "state.seed=never 5",
        "state.seed=always 301",
        "clock-not-before=-1",
        "relax=ptrace",
        "relax=everything because",
        "harden=all",
        "on-failure=continue",
        "init.path=init",
        "init.path=/a//b",
        "init.environment=A",
        "init.environment==x",
        "module-parameter=m a=b c=d",
        "module-parameter=m a=\"b\"",
        "module-parameter=m a=",
        "command-line.after=",
    ] {
        let bad = bad.replace("ROOT", &"5a".repeat(32));
        let key = bad.split_once('=').unwrap().0;
        let kept = text.lines().filter(|line| line.split_once('=').unwrap().0 != key);
        let kept: String = kept.map(|line| format!("{line}\n")).collect();
        let error = Plan::parse(&format!("{kept}{bad}\n")).unwrap_err();
        assert!(matches!(error.problem, Problem::Value { .. }), "{bad}: {error}");
        assert_eq!(error.line, Some(kept.lines().count() + 1), "{bad}");
    }
}

#[test]
fn a_value_that_would_not_come_back_is_not_rendered() {
    let mut newline = small();
    newline.init.arguments = vec!["a\ninit.path=/evil".to_owned()];
    let mut blank = full();
    blank.mounts[0].target = "/v ar".to_owned();
    let mut order = full();
    order.additions.reverse();
    let mut environment = small();
    environment.init.environment = vec![("A=B".to_owned(), "C".to_owned())];
    for plan in [newline, blank, order, environment] {
        assert!(plan.render().is_err());
    }
}

#[test]
fn a_volume_is_whole_and_its_own() {
    let text = full().render().unwrap();
    let without = |key: &str| -> String {
        text.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect()
    };
    assert_eq!(Plan::parse(&without("volume.shop.options=")).unwrap_err().problem, Problem::Missing);
    assert_eq!(Plan::parse(&without("volume=shop")).unwrap_err().problem, Problem::Unknown);
    assert_eq!(Plan::parse(&without("volume")).unwrap().volumes, []);
    let same: [fn(&mut Volume, &Volume); 3] = [
        |one, other| one.name = other.name.clone(),
        |one, other| one.target = other.target.clone(),
        |one, other| one.root_hash = other.root_hash.clone(),
    ];
    for make_same in same {
        let mut plan = full();
        let (first, second) = plan.volumes.split_at_mut(1);
        make_same(&mut second[0], &first[0]);
        assert!(matches!(plan.render().unwrap_err().problem, Problem::Twice(_)));
    }
}

#[test]
fn a_state_is_whole_or_not_there() {
    let text = full().render().unwrap();
    let without = |key: &str| -> String {
        text.lines().filter(|line| !line.starts_with(key)).map(|line| format!("{line}\n")).collect()
    };
    assert_eq!(Plan::parse(&without("state.size=")).unwrap_err().problem, Problem::Missing);
    assert_eq!(Plan::parse(&without("state.partition=")).unwrap_err().problem, Problem::Unknown);
    assert_eq!(Plan::parse(&without("state.")).unwrap().state, None);
}

#[test]
fn sizes_that_overflow_are_refused() {
    let mut plan = small();
    plan.root.verity.data_blocks = u64::MAX;
    assert!(plan.render().is_err());
    plan.root.verity.data_blocks = 1 << 40;
    plan.root.verity.hash_start = u64::MAX;
    assert!(plan.render().is_err());
}

#[test]
fn tree_sizes_are_veritysetups() {
    // Blocks of 4096, SHA-256: from veritysetup 2.6.1.
    for (blocks, tree) in [(1, 0), (2, 4096), (128, 4096), (129, 12288), (16385, 540_672)] {
        let verity = Verity { data_blocks: blocks, ..small().root.verity };
        assert_eq!(verity.hash_bytes(), Some(4096 + tree), "{blocks}");
    }
    let verity = Verity { data_blocks: 300, algorithm: Algorithm::Sha512, ..small().root.verity };
    assert_eq!(verity.hash_bytes(), Some(4096 + 24576));
    let verity = Verity {
        data_blocks: 700,
        algorithm: Algorithm::Sha384,
        hash_block_size: 512,
        data_block_size: 512,
        ..small().root.verity
    };
    assert_eq!(verity.hash_bytes(), Some(512 + 52224));
}

#[test]
fn a_table_has_as_many_option_words_as_it_says() {
    let root_hash = RootHash::from_hex(&"5a".repeat(32)).unwrap();
    let devices = VerityDevices { data: "254:1", hash: "254:2", fec: "254:3" };
    let hash = root_hash.to_string();
    assert_eq!(
        small().root.verity.table(&root_hash, devices, "graven"),
        format!("1 254:1 254:2 4096 4096 1000 1 sha256 {hash} - 2 root_hash_sig_key_desc graven")
    );
    let verity = Verity { on_corruption: OnCorruption::Panic, salt: vec![0xaa, 0xbb], ..full().root.verity };
    assert_eq!(
        verity.table(&root_hash, devices, "graven"),
        format!(
            "1 254:1 254:2 4096 4096 1000 1 sha256 {hash} aabb 11 panic_on_corruption use_fec_from_device 254:3 \
             fec_blocks 1009 fec_start 9 fec_roots 2 root_hash_sig_key_desc graven"
        )
    );
}
