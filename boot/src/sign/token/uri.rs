//! PKCS#11 URIs (RFC 7512): which token, which key on it, by which module, and where its PIN comes from.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A key on a token. An attribute that is not given fits whatever is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenUri {
    text: String,
    /// The token's label.
    pub token: Option<String>,
    /// The token's manufacturer.
    pub manufacturer: Option<String>,
    /// The token's model.
    pub model: Option<String>,
    /// The token's serial number.
    pub serial: Option<String>,
    /// The key's label.
    pub object: Option<String>,
    /// The key's identifier.
    pub id: Option<Vec<u8>>,
    /// The module (a shared library) that speaks for the token.
    pub module_path: Option<PathBuf>,
    /// Where the PIN is.
    pub pin: Pin,
}

/// Where a PIN is. Never in the URI itself, which lies in a file and may stand in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pin {
    /// With somebody at the terminal.
    #[default]
    Asked,
    /// In the first line of a file: `pin-source=file:/run/pin`.
    File(PathBuf),
    /// In a variable of the environment: `pin-source=env:NAME`.
    Variable(String),
}

/// Why a text is no such URI.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// It begins otherwise.
    #[error("expected pkcs11:token=LABEL;object=LABEL?module-path=FILE")]
    Scheme,
    /// An attribute is not `NAME=VALUE`, or its value is no percent-encoded text.
    #[error("{0:?} is no attribute: expected NAME=VALUE with %XX for what is special")]
    Attribute(String),
    /// An attribute is there twice.
    #[error("{0} is given twice")]
    Twice(String),
    /// It means nothing here.
    #[error(
        "{0} is not understood: known are token, manufacturer, model, serial, object, id, type=private; module-path, pin-source"
    )]
    Unknown(String),
    /// The PIN itself.
    #[error(
        "pin-value would leave the PIN in a file: say pin-source=file:PATH or pin-source=env:NAME, or nothing to be asked"
    )]
    PinValue,
    /// A source of PINs that is none.
    #[error("pin-source={0}: expected file:PATH or env:NAME")]
    PinSource(String),
}

impl FromStr for TokenUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let rest = text.strip_prefix("pkcs11:").ok_or(UriError::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self { text: text.to_owned(), ..Self::default() };
        let mut seen: Vec<&str> = Vec::new();
        let attributes = path.split(';').chain(query.split('&'));
        for attribute in attributes.filter(|attribute| !attribute.is_empty()) {
            let wrong = || UriError::Attribute(attribute.to_owned());
            let (name, value) = attribute.split_once('=').ok_or_else(wrong)?;
            let bytes = decoded(value).ok_or_else(wrong)?;
            if seen.contains(&name) {
                return Err(UriError::Twice(name.to_owned()));
            }
            seen.push(name);
            if name == "id" {
                uri.id = Some(bytes);
                continue;
            }
            let value = String::from_utf8(bytes).map_err(|_| wrong())?;
            match name {
                "token" => uri.token = Some(value),
                "manufacturer" => uri.manufacturer = Some(value),
                "model" => uri.model = Some(value),
                "serial" => uri.serial = Some(value),
                "object" => uri.object = Some(value),
                "module-path" => uri.module_path = Some(value.into()),
                "pin-source" => uri.pin = pin(&value)?,
                "pin-value" => return Err(UriError::PinValue),
                "type" if value == "private" => {}
                _ => return Err(UriError::Unknown(attribute.to_owned())),
            }
        }
        Ok(uri)
    }
}

impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn pin(source: &str) -> Result<Pin, UriError> {
    match source.split_once(':') {
        Some(("file", path)) if path.starts_with('/') => Ok(Pin::File(path.into())),
        Some(("env", name)) if !name.is_empty() => Ok(Pin::Variable(name.to_owned())),
        _ => Err(UriError::PinSource(source.to_owned())),
    }
}

/// Percent-encoding undone.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit =
            |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push((high << 4) | low);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_read_and_what_is_not_understood_is_refused() {
        let uri: TokenUri =
            "pkcs11:token=Acme%20HSM;object=db;id=%01%fe;type=private?module-path=/usr/lib/x.so&\
                             pin-source=file:/run/pin"
                .parse()
                .unwrap();
        assert_eq!(uri.token.as_deref(), Some("Acme HSM"));
        assert_eq!(uri.id.as_deref(), Some(&[1, 0xfe][..]));
        assert_eq!(uri.pin, Pin::File("/run/pin".into()));
        assert_eq!("pkcs11:object=db".parse::<TokenUri>().unwrap().pin, Pin::Asked);
        let refused = |text: &str| text.parse::<TokenUri>().unwrap_err();
        assert_eq!(refused("token=x"), UriError::Scheme);
        assert_eq!(refused("pkcs11:token"), UriError::Attribute("token".into()));
        assert_eq!(refused("pkcs11:token=%4"), UriError::Attribute("token=%4".into()));
        assert_eq!(refused("pkcs11:token=a;token=b"), UriError::Twice("token".into()));
        assert_eq!(refused("pkcs11:slot-id=1"), UriError::Unknown("slot-id=1".into()));
        assert_eq!(refused("pkcs11:object=a?pin-value=1234"), UriError::PinValue);
        assert_eq!(refused("pkcs11:object=a?pin-source=|pass"), UriError::PinSource("|pass".into()));
    }
}
