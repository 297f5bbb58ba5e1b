//! Step 3: the modules that the initramfs carries.

use std::ffi::CString;
use std::fs::File;
use std::path::Path;

use graven_handoff::initramfs::{MODULES, ModuleFile, parse_module_file};
use graven_handoff::{Code, Plan};
use rustix::io::Errno;

use crate::failure::{Failure, OrFail};

/// `MODULE_INIT_COMPRESSED_FILE`: the kernel decompresses.
const COMPRESSED: i32 = 4;

/// Loads the modules in the order of their names, then reads every parameter of the plan back from sysfs.
///
/// A generic image carries the drivers of many machines, and some answer «no such device» on all but theirs. Those, and
/// what needs their symbols, are left out: a disk that is really missing shows in step 4, a parameter right below.
pub(crate) fn load(plan: &Plan) -> Result<(), Failure> {
    let mut left_out = false;
    for name in names()? {
        let module = parse_module_file(&name).ok_or_else(|| {
            Failure::new(Code::Module, format!("{MODULES}/{name}: not the name of a module"))
        })?;
        let path = Path::new(MODULES).join(&name);
        match load_one(&path, &module, plan)? {
            Ok(()) => {}
            Err(Errno::NODEV) => left_out = true,
            Err(Errno::NOENT) if left_out => {}
            Err(error) => return Err(Failure::new(Code::Module, format!("{}: {error}", path.display()))),
        }
    }
    // Also those of modules that are built in or were there already: what counts is the value.
    for parameter in &plan.module_parameters {
        let path = format!("/sys/module/{}/parameters/{}", parameter.module, parameter.name);
        let found = std::fs::read_to_string(&path).or_fail(Code::ModuleParameter, &path)?;
        let found = found.strip_suffix('\n').unwrap_or(&found);
        if !same_value(&parameter.value, found) {
            let detail = format!("{path}: expected {}, found {found}", parameter.value);
            return Err(Failure::new(Code::ModuleParameter, detail));
        }
    }
    Ok(())
}

/// The folder's names in order; an image whose kernel has everything built in has no folder.
fn names() -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    let entries = match std::fs::read_dir(MODULES) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
        entries => entries.or_fail(Code::Module, MODULES)?,
    };
    for entry in entries {
        let name = entry.or_fail(Code::Module, MODULES)?.file_name();
        let name = name.into_string().map_err(|name| {
            Failure::new(Code::Module, format!("{MODULES}/{name:?}: not the name of a module"))
        })?;
        names.push(name);
    }
    names.sort_unstable();
    Ok(names)
}

/// Answers what the kernel says of one module; a failure only where it cannot be asked.
fn load_one(path: &Path, module: &ModuleFile, plan: &Plan) -> Result<Result<(), Errno>, Failure> {
    let parameters: Vec<String> = plan
        .module_parameters
        .iter()
        .filter(|parameter| parameter.module == module.module)
        .map(|parameter| format!("{}={}", parameter.name, parameter.value))
        .collect();
    let parameters = CString::new(parameters.join(" ")).or_fail(Code::Module, &module.module)?;
    let file = File::open(path).or_fail(Code::Module, path.display())?;
    let flags = if module.compressed { COMPRESSED } else { 0 };
    // There already: good if the parameters are as they should be, which is looked at next.
    Ok(match rustix::system::finit_module(&file, &parameters, flags) {
        Err(Errno::EXIST) => Ok(()),
        answer => answer,
    })
}

/// Flags read back as `Y` and `N`.
fn same_value(given: &str, found: &str) -> bool {
    let flag = |value: &str| match value {
        "1" | "Y" | "y" => Some(true),
        "0" | "N" | "n" => Some(false),
        _ => None,
    };
    given == found || (flag(given).is_some() && flag(given) == flag(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_two_spellings_and_numbers_one() {
        assert!(same_value("1", "Y") && same_value("n", "0") && same_value("17", "17"));
        assert!(
            !same_value("1", "N") && !same_value("1", "") && !same_value("17", "Y") && !same_value("", "N")
        );
    }
}
