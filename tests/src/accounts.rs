//! How a release accounts for itself, judged by tools of others: CycloneDX's validator, secure-systems-lab's DSSE, in-toto's
//! statements.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::image;
use crate::oracle::{content, python};

/// The bill of materials of a build's output folder: valid, with every package that the image's `dpkg` knows and every regular
/// file with its digest, and nothing more.
pub fn bill(out: &Path) -> Value {
    let file = out.join("sbom.cdx.json");
    let script = "import sys\nfrom cyclonedx.schema import SchemaVersion\nfrom cyclonedx.validation.json import JsonStrictValidator\n\
                  print(JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read()))";
    let judged = content(python("python3"), ["-c".as_ref(), script.as_ref(), file.as_os_str()]);
    assert_eq!(judged.trim(), "None");

    let bill = read(&file);
    let components = bill["components"].as_array().expect("it has components");
    let packages: Vec<String> = components
        .iter()
        .filter(|component| component["purl"].is_string())
        .map(|package| format!("{} {}", text(&package["name"]), text(&package["version"])))
        .collect();
    assert_eq!(packages, installed(out));

    let list = read(&out.join("files.json"));
    let list = list.as_array().expect("it is a list");
    let regular = list.iter().filter(|file| file["type"] == "regular file");
    let mut expected: Vec<(String, String)> =
        regular.map(|file| (text(&file["path"]), text(&file["sha256"]))).collect();
    let own =
        components.iter().filter(|component| component["type"] == "file" && component["bom-ref"].is_null());
    let nested = components.iter().filter(|component| component["purl"].is_string());
    let nested = nested.flat_map(|package| package["components"].as_array().into_iter().flatten());
    let mut found: Vec<(String, String)> =
        own.chain(nested).map(|file| (text(&file["name"]), text(&file["hashes"][0]["content"]))).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "every regular file is there once");
    bill
}

/// Names and versions in the image's `dpkg` status, in its order.
fn installed(out: &Path) -> Vec<String> {
    let said = image::run(["cat".as_ref(), out.as_os_str(), "/var/lib/dpkg/status".as_ref()]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let status = String::from_utf8(said.stdout).expect("it is text");
    let field = |paragraph: &str, name: &str| {
        let value = paragraph.lines().find_map(|line| line.strip_prefix(name));
        value.expect("each has a name and a version").trim().to_owned()
    };
    status
        .split("\n\n")
        .filter(|paragraph| paragraph.contains("Package:"))
        .map(|paragraph| format!("{} {}", field(paragraph, "Package:"), field(paragraph, "Version:")))
        .collect()
}

/// What the provenance in a build's output folder is about, by name, after the signature was found good, the statement to be
/// one, and every file there to have the digest that it says.
pub fn provenance(out: &Path, certificate: &Path) -> Vec<String> {
    let script = "
import sys, json, hashlib
from cryptography.x509 import load_pem_x509_certificate
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from google.protobuf.json_format import ParseDict
envelope = Envelope.from_dict(json.load(open(sys.argv[1] + '/provenance.intoto.json')))
key = load_pem_x509_certificate(open(sys.argv[2],'rb').read()).public_key()
key = SSlibKey.from_crypto(key, list(envelope.signatures)[0], scheme='rsa-pkcs1v15-sha256')
envelope.verify([key], 1)
statement = json.loads(envelope.payload)
for subject in statement['subject']:
    if '/' not in subject['name']:
        data = open(sys.argv[1] + '/' + subject['name'], 'rb').read()
        assert hashlib.sha256(data).hexdigest() == subject['digest']['sha256'], subject
Statement.copy_from_pb(ParseDict(statement, statement_pb2.Statement())).validate()
print(' '.join(s['name'] for s in statement['subject']))
";
    let words = ["-c".as_ref(), script.as_ref(), out.as_os_str(), certificate.as_os_str()];
    let names = content(python("python3"), words);
    names.split_whitespace().map(str::to_owned).collect()
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).expect("it is there")).expect("it is JSON")
}

fn text(value: &Value) -> String {
    value.as_str().expect("it is text").to_owned()
}
