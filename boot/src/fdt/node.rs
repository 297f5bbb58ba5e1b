//! Nodes and properties.

use std::borrow::Cow;

/// A property: a name and bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property<'a> {
    pub(super) name: Cow<'a, str>,
    /// Of the name in the strings block of the tree that the property is in; means nothing outside one.
    pub(super) name_offset: u32,
    pub(super) value: Cow<'a, [u8]>,
    /// The bytes between the value's end and the next multiple of 4, as they were read.
    pub(super) padding: [u8; 3],
}

impl<'a> Property<'a> {
    /// Any bytes.
    pub fn bytes(name: &'a str, value: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { name: name.into(), name_offset: 0, value: value.into(), padding: [0; 3] }
    }

    /// A `<string>`: the text and a NUL.
    pub fn text(name: &'a str, text: &str) -> Self {
        Self::texts(name, [text])
    }

    /// A `<stringlist>`: each text with its NUL.
    pub fn texts<'t>(name: &'a str, texts: impl IntoIterator<Item = &'t str>) -> Self {
        let mut value = Vec::new();
        for text in texts {
            value.extend_from_slice(text.as_bytes());
            value.push(0);
        }
        Self::bytes(name, value)
    }

    /// A `<u32>`.
    pub fn cell(name: &'a str, value: u32) -> Self {
        Self::bytes(name, value.to_be_bytes().to_vec())
    }

    /// A number in as many cells as it takes: `<u32>`, or `<u64>` beyond.
    pub fn number(name: &'a str, value: u64) -> Self {
        match u32::try_from(value) {
            Ok(cell) => Self::cell(name, cell),
            Err(_) => Self::bytes(name, value.to_be_bytes().to_vec()),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// Its value, borrowed from what was read or its own.
    pub(crate) fn cow(&self) -> &Cow<'a, [u8]> {
        &self.value
    }

    /// Where its name starts in the strings block of its tree.
    pub fn name_offset(&self) -> u32 {
        self.name_offset
    }

    /// The value as one text: NUL at the end and nowhere else.
    pub fn as_text(&self) -> Option<&str> {
        match self.as_texts()?.as_slice() {
            [text] => Some(text),
            _ => None,
        }
    }

    /// The value as texts, each with a NUL at its end.
    pub fn as_texts(&self) -> Option<Vec<&str>> {
        let text = std::str::from_utf8(&self.value).ok()?;
        Some(text.strip_suffix('\0')?.split('\0').collect())
    }

    /// The value as a number of one or two cells.
    pub fn as_number(&self) -> Option<u64> {
        match *self.value {
            [a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d]).into()),
            [a, b, c, d, e, f, g, h] => Some(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
            _ => None,
        }
    }

    pub(super) fn into_owned(self) -> Property<'static> {
        Property {
            name: Cow::Owned(self.name.into_owned()),
            name_offset: self.name_offset,
            value: Cow::Owned(self.value.into_owned()),
            padding: self.padding,
        }
    }
}

/// A node: a name, properties and further nodes, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) properties: Vec<Property<'a>>,
    pub(super) children: Vec<Node<'a>>,
}

impl<'a> Node<'a> {
    /// An empty node; the root's name is empty.
    pub fn new(name: impl Into<Cow<'a, str>>) -> Self {
        Self { name: name.into(), properties: Vec::new(), children: Vec::new() }
    }

    /// The node with a property more, after the others.
    #[must_use]
    pub fn with(mut self, property: Property<'a>) -> Self {
        self.properties.push(property);
        self
    }

    /// The node with a child more, after the others.
    #[must_use]
    pub fn with_child(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// Its name, empty for the root.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its properties, in their order.
    pub fn properties(&self) -> &[Property<'a>] {
        &self.properties
    }

    /// The nodes in it, in their order.
    pub fn children(&self) -> &[Node<'a>] {
        &self.children
    }

    /// The property of that name.
    pub fn property(&self, name: &str) -> Option<&Property<'a>> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// The node of that name directly in it; a unit address is part of the name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The value of a property.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.property(name).map(Property::value)
    }

    /// The value of a property that is one text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.property(name)?.as_text()
    }

    /// The value of a property that is a list of texts.
    pub fn texts(&self, name: &str) -> Option<Vec<&str>> {
        self.property(name)?.as_texts()
    }

    /// The value of a property that is a number of one or two cells.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.property(name)?.as_number()
    }

    pub(super) fn child_mut(&mut self, name: &str) -> Option<&mut Self> {
        self.children.iter_mut().find(|child| child.name == name)
    }

    pub(super) fn into_owned(self) -> Node<'static> {
        Node {
            name: Cow::Owned(self.name.into_owned()),
            properties: self.properties.into_iter().map(Property::into_owned).collect(),
            children: self.children.into_iter().map(Node::into_owned).collect(),
        }
    }
}
