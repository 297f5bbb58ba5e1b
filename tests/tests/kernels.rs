//! The kernels of `tests/kernels`, read as the builder reads them. Slow the first time: they are built.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use graven_boot::compression::Compression;
use graven_boot::kernel::{Demands, Kernel, Parts, Signers, assess};
use graven_boot::keys::read_certificates;
use graven_boot::x509::Certificate;
use graven_targets::BootChain;
use graven_tests::{image, inputs};

fn kernel(variant: &str, config: Option<&str>) -> Kernel {
    let folder = inputs::arm64_kernels().join(variant);
    let image = std::fs::read(folder.join("Image")).unwrap();
    let builtin = std::fs::read_to_string(folder.join("modules/modules.builtin")).unwrap();
    Kernel::inspect(&Parts { image: &image, config, builtin: &builtin, builtin_modinfo: b"" }).unwrap()
}

/// The one certificate of this role in a folder of keys.
fn certificate(keys: &Path, role: &str) -> Certificate {
    read_certificates(&keys.join(format!("{role}.crt"))).unwrap().remove(0)
}

/// What a FIT whose policy and root hash this certificate signs has against a kernel.
fn refusals(kernel: &Kernel, signer: Certificate) -> Vec<&'static str> {
    let demands = Demands {
        boot_chain: BootChain::Fit,
        secure_boot: false,
        fec: true,
        root_file_system: "EROFS_FS",
        root_needs: Vec::new(),
        command_line_limit: 2048,
        modules: Compression::None,
        lsm: None,
        policy: None,
        signers: Some(Signers { policy: signer.clone(), root_hash: signer, issuers: None }),
    };
    assess(kernel, &demands).into_iter().map(|refusal| refusal.name).collect()
}

#[test]
#[cfg_attr(not(feature = "full"), ignore = "builds a kernel: feature `full`")]
fn the_fit_kernel_is_taken_with_its_signer_and_with_no_other() {
    let keys = inputs::arm64_keys();
    let kernel = kernel("base", None);
    let trusted = kernel.certificates.clone().unwrap();
    assert_eq!(trusted, [certificate(&keys, "modules"), certificate(&keys, "policy")]);
    assert_eq!(refusals(&kernel, certificate(&keys, "policy")), [""; 0]);
    assert_eq!(refusals(&kernel, certificate(&keys, "fit")), ["signer-not-in-kernel"]);
    assert_eq!(refusals(&kernel, certificate(image::keys(), "policy")), ["signer-not-in-kernel"]);
}

/// Its configuration lies inside it, and so do the certificates whose list the build left beside it.
#[test]
#[cfg_attr(not(feature = "full"), ignore = "builds a kernel: feature `full`")]
fn what_is_read_out_of_a_kernel_is_what_went_into_it() {
    for variant in ["base", "deny"] {
        let folder = inputs::arm64_kernels().join(variant);
        let config = std::fs::read_to_string(folder.join("config")).unwrap();
        let (inside, beside) = (kernel(variant, None), kernel(variant, Some(&config)));
        assert_eq!(inside.config, beside.config, "{variant}");
        let list: Vec<u8> = inside.certificates.unwrap().iter().flat_map(|one| one.der().to_vec()).collect();
        assert_eq!(list, std::fs::read(folder.join("certificates.der")).unwrap(), "{variant}");
    }
    assert_eq!(kernel("base", None).boot_policy, None);
    let policy = std::fs::read(inputs::project().join("tests/kernels/deny.pol")).unwrap();
    assert_eq!(kernel("deny", None).boot_policy, Some(graven_ipe::Policy::parse(&policy).unwrap()));
}
