//! A recipe file's values, each with its place, before they mean anything.

use crate::error::Problem;
use crate::place::{Document, Place};
use std::collections::BTreeMap;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::Datetime;

/// A value and where it was said.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) kind: Kind,
    pub(crate) place: Place,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Text(String),
    /// With the radix in which it was written: permission bits in decimal are a mistake.
    Integer {
        value: i64,
        radix: u32,
    },
    Float,
    Boolean(bool),
    Datetime(Datetime),
    Array(Vec<Value>),
    Table(Table),
}

/// Keys in the order of their bytes.
pub(crate) type Table = BTreeMap<String, Entry>;

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Where the key stands.
    pub(crate) key: Place,
    pub(crate) value: Value,
}

impl Value {
    /// Parses a whole TOML document.
    pub(crate) fn parse(document: &Arc<Document>) -> Result<Self, Problem> {
        let parsed = DeTable::parse(&document.text).map_err(|error| {
            let place = Place::new(document, error.span().unwrap_or(0..0));
            Problem::new(&place, error.message().replace('\n', ", "))
        })?;
        // The document's own span is all of it: errors about what is missing point at its first line.
        let table = table(document, parsed.get_ref())?;
        Ok(Self { kind: Kind::Table(table), place: Place::new(document, 0..0) })
    }

    /// What errors call this kind of value, with its article.
    pub(crate) fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Text(_) => "a string",
            Kind::Integer { .. } => "an integer",
            Kind::Float => "a float",
            Kind::Boolean(_) => "a boolean",
            Kind::Datetime(_) => "a date",
            Kind::Array(_) => "an array",
            Kind::Table(_) => "a table",
        }
    }
}

fn table(document: &Arc<Document>, parsed: &DeTable<'_>) -> Result<Table, Problem> {
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let key: &Spanned<std::borrow::Cow<'_, str>> = key;
        let entry = Entry { key: Place::new(document, key.span()), value: convert(document, value)? };
        Ok((key.get_ref().to_string(), entry))
    };
    parsed.iter().map(entry).collect()
}

fn convert(document: &Arc<Document>, parsed: &Spanned<DeValue<'_>>) -> Result<Value, Problem> {
    let place = Place::new(document, parsed.span());
    let kind = match parsed.get_ref() {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Integer(integer) => {
            let value = i64::from_str_radix(integer.as_str(), integer.radix())
                .map_err(|_| Problem::new(&place, "this integer does not fit 64 bits"))?;
            Kind::Integer { value, radix: integer.radix() }
        }
        DeValue::Float(_) => Kind::Float,
        DeValue::Boolean(boolean) => Kind::Boolean(*boolean),
        DeValue::Datetime(datetime) => Kind::Datetime(*datetime),
        DeValue::Array(array) => {
            let items = array.iter().map(|item| convert(document, item));
            Kind::Array(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(inner) => Kind::Table(table(document, inner)?),
    };
    Ok(Value { kind, place })
}
