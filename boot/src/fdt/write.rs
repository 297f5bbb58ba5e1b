//! Writing a blob, and the tokens that signatures hash.

use zerocopy::IntoBytes;
use zerocopy::big_endian::U32;

use super::layout::{
    BEGIN_NODE, END, END_NODE, Header, LAST_COMPATIBLE_VERSION, MAGIC, PROP, PropertyHeader, Reservation,
    VERSION,
};
use super::{FdtError, Node, Property, Tree};

impl Tree<'_> {
    /// The blob: header, memory reservation block, structure block, strings block, without room between them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FdtError> {
        let mut structure = Vec::new();
        write_node(&self.root, &mut structure)?;
        end(&mut structure);

        let reservations_size =
            self.reservations.len().saturating_add(1).saturating_mul(size_of::<Reservation>());
        let structure_offset = size_of::<Header>().saturating_add(reservations_size);
        let strings_offset = structure_offset.saturating_add(structure.len());
        let total_size = strings_offset.saturating_add(self.strings.len());
        let header = Header {
            magic: U32::new(MAGIC),
            total_size: field(total_size)?,
            structure_offset: field(structure_offset)?,
            strings_offset: field(strings_offset)?,
            reservations_offset: field(size_of::<Header>())?,
            version: U32::new(VERSION),
            last_compatible_version: U32::new(LAST_COMPATIBLE_VERSION),
            boot_cpu: U32::new(self.boot_cpu),
            strings_size: field(self.strings.len())?,
            structure_size: field(structure.len())?,
        };

        let mut blob = Vec::with_capacity(total_size);
        blob.extend_from_slice(header.as_bytes());
        blob.extend_from_slice(self.reservations.as_bytes());
        blob.extend_from_slice(Reservation::END.as_bytes());
        blob.extend_from_slice(&structure);
        blob.extend_from_slice(&self.strings);
        Ok(blob)
    }
}

fn write_node(node: &Node<'_>, out: &mut Vec<u8>) -> Result<(), FdtError> {
    begin_node(node, out);
    for one in &node.properties {
        property(one, out)?;
    }
    for child in &node.children {
        write_node(child, out)?;
    }
    end_node(out);
    Ok(())
}

/// FDT_BEGIN_NODE with the node's name.
pub(crate) fn begin_node(node: &Node<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&BEGIN_NODE.to_be_bytes());
    out.extend_from_slice(node.name.as_bytes());
    let padding = node.name.len().wrapping_rem(4);
    out.extend(std::iter::repeat_n(0, 4_usize.saturating_sub(padding)));
}

/// FDT_PROP with header, value and padding.
pub(crate) fn property(property: &Property<'_>, out: &mut Vec<u8>) -> Result<(), FdtError> {
    let header =
        PropertyHeader { length: field(property.value.len())?, name_offset: U32::new(property.name_offset) };
    out.extend_from_slice(&PROP.to_be_bytes());
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(&property.value);
    let beyond = property.value.len().wrapping_rem(4);
    if beyond != 0 {
        out.extend(property.padding.iter().take(4_usize.saturating_sub(beyond)));
    }
    Ok(())
}

/// FDT_END_NODE.
pub(crate) fn end_node(out: &mut Vec<u8>) {
    out.extend_from_slice(&END_NODE.to_be_bytes());
}

/// FDT_END.
pub(crate) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(&END.to_be_bytes());
}

fn field(value: usize) -> Result<U32, FdtError> {
    let most = u32::MAX as usize;
    u32::try_from(value).map(U32::new).map_err(|_| FdtError::TooMuch { what: "bytes", most })
}
