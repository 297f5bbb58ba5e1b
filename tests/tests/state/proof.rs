//! An image with a state is proved offline as any other is.

use graven::deliver::DISK;
use graven_tests::emulated::Emulated;
use graven_tests::image;

use crate::device::built;

#[test]
fn every_link_of_an_image_with_a_state_holds() {
    let disk = built(Emulated::X86_64).join(DISK);
    let trust = image::keys().join("db.crt");
    let end = image::run(["verify".as_ref(), disk.as_os_str(), "--trust".as_ref(), trust.as_os_str()]);
    let said = String::from_utf8_lossy(&end.stdout);
    assert!(end.status.success(), "{said}");
    assert!(said.contains("every one explained"), "{said}");
}
