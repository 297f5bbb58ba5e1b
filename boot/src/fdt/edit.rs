//! Making trees, and changing them.

use std::borrow::Cow;

use super::read::{LONGEST_NAME, refuse_twice};
use super::{DEEPEST, FdtError, Node, Property, Tree, components};

impl<'a> Tree<'a> {
    /// A new tree with this root. Property names go into the strings block in the order in which they occur.
    pub fn new(mut root: Node<'a>) -> Result<Self, FdtError> {
        let mut strings = Vec::new();
        root.name = Cow::Borrowed("");
        adopt(&mut root, &mut strings, 1)?;
        Ok(Self { boot_cpu: 0, reservations: Vec::new(), strings, root, extent: 0, nops: false })
    }

    /// Gives the node at `path` this property: in the place of the one of that name, or before all others.
    pub fn set(&mut self, path: &str, mut property: Property<'a>) -> Result<(), FdtError> {
        check_property(&property, path)?;
        let node = components(path)
            .try_fold(&mut self.root, |node, name| node.child_mut(name))
            .ok_or_else(|| FdtError::Missing { path: path.to_owned() })?;
        match node.properties.iter_mut().find(|known| known.name == property.name) {
            Some(known) => {
                known.value = property.value;
                known.padding = [0; 3];
            }
            None => {
                property.name_offset = intern(&mut self.strings, &property.name)?;
                node.properties.insert(0, property);
            }
        }
        Ok(())
    }

    /// Puts a node into the one at `path`, before its other nodes.
    pub fn add(&mut self, path: &str, mut node: Node<'a>) -> Result<(), FdtError> {
        let depth = components(path).count().saturating_add(2);
        check_node_name(&node.name, path)?;
        adopt(&mut node, &mut self.strings, depth)?;
        let parent = components(path)
            .try_fold(&mut self.root, |node, name| node.child_mut(name))
            .ok_or_else(|| FdtError::Missing { path: path.to_owned() })?;
        if parent.child(&node.name).is_some() {
            let (path, name) = (path.to_owned(), node.name.into_owned());
            return Err(FdtError::Twice { path, what: "nodes", name });
        }
        parent.children.insert(0, node);
        Ok(())
    }

    /// Lays `fragment` over the tree: its properties replace those of the same name, its nodes are added where they are
    /// missing.
    pub fn merge(&mut self, fragment: &Tree<'_>) -> Result<(), FdtError> {
        self.merge_node("", &fragment.root)
    }

    fn merge_node(&mut self, path: &str, from: &Node<'_>) -> Result<(), FdtError> {
        // In reverse, since each new one goes before those that are there.
        for property in from.properties.iter().rev() {
            self.set(path, property.clone().into_owned())?;
        }
        for child in from.children.iter().rev() {
            let below = format!("{path}/{}", child.name);
            match self.node(&below) {
                Some(_) => self.merge_node(&below, child)?,
                None => self.add(path, child.clone().into_owned())?,
            }
        }
        Ok(())
    }

    /// Puts a kernel command line into `/chosen/bootargs`, making the node where it is missing.
    pub fn set_bootargs(&mut self, line: &str) -> Result<(), FdtError> {
        if let Some(offset) = line.find('\0') {
            return Err(FdtError::Nul { property: "bootargs".to_owned(), offset });
        }
        if self.root.child("chosen").is_none() {
            self.add("/", Node::new("chosen"))?;
        }
        self.set("/chosen", Property::text("bootargs", line).into_owned())
    }
}

/// Checks a node and all in it, and gives its properties their places in the strings block.
fn adopt(node: &mut Node<'_>, strings: &mut Vec<u8>, depth: usize) -> Result<(), FdtError> {
    if depth > DEEPEST {
        return Err(FdtError::TooMuch { what: "nodes in each other", most: DEEPEST });
    }
    refuse_twice(node)?;
    for property in &mut node.properties {
        check_property(property, &node.name)?;
        property.name_offset = intern(strings, &property.name)?;
    }
    for child in &mut node.children {
        check_node_name(&child.name, &node.name)?;
        adopt(child, strings, depth.saturating_add(1))?;
    }
    Ok(())
}

fn check_node_name(name: &str, parent: &str) -> Result<(), FdtError> {
    check_name(name, parent, |name| !name.contains('/'), "1 to 255 printable ASCII characters without «/»")
}

fn check_property(property: &Property<'_>, node: &str) -> Result<(), FdtError> {
    check_name(&property.name, node, |_| true, "1 to 255 printable ASCII characters")
}

fn check_name(
    name: &str,
    node: &str,
    allowed: impl FnOnce(&str) -> bool,
    expected: &'static str,
) -> Result<(), FdtError> {
    let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
    if printable && (1..LONGEST_NAME).contains(&name.len()) && allowed(name) {
        return Ok(());
    }
    Err(FdtError::Name { path: node.to_owned(), offset: 0, found: name.to_owned(), expected })
}

/// Where a name stands in the strings block, as the end of another or by itself; put at its end where it does not.
fn intern(strings: &mut Vec<u8>, name: &str) -> Result<u32, FdtError> {
    let mut wanted = name.as_bytes().to_vec();
    wanted.push(0);
    let known = strings.windows(wanted.len()).position(|window| window == wanted.as_slice());
    let offset = known.unwrap_or(strings.len());
    if known.is_none() {
        strings.extend_from_slice(&wanted);
    }
    let most = u32::MAX as usize;
    u32::try_from(offset).map_err(|_| FdtError::TooMuch { what: "bytes of names", most })
}
