//! Files in memory: what one layer has, or all of them together. Contents stay in the archives.

use std::collections::BTreeMap;

use mkext4::Meta;

use super::entry::{Entry, What};

/// Links that are followed in one path at most.
const LINKS: u32 = 40;

/// Owner, mode, time and extended attributes.
#[derive(Debug, Clone)]
pub(super) struct Attributes {
    pub(super) meta: Meta,
    pub(super) xattrs: Vec<(String, Vec<u8>)>,
}

/// A number of a node.
pub(super) type Id = usize;
/// What a directory has.
pub(super) type Names = BTreeMap<String, Id>;

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// None for a directory that no entry describes.
    pub(super) attributes: Option<Attributes>,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Directory {
        names: Names,
        is_opaque: bool,
    },
    /// `content` is the number of the layer and that of the entry in it.
    File {
        size: u64,
        content: (usize, u64),
    },
    Symlink {
        to: String,
    },
    Fifo,
    Device {
        is_block: bool,
        major: u32,
        minor: u32,
    },
    Whiteout,
}

impl Kind {
    pub(super) fn directory() -> Self {
        Self::Directory { names: Names::new(), is_opaque: false }
    }
}

/// Nodes; two names of one file lead to one node.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

/// The directory `0`.
pub(super) const TOP: Id = 0;

impl Tree {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node { kind: Kind::directory(), attributes: None }] }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    pub(super) fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id]
    }

    pub(super) fn push(&mut self, kind: Kind, attributes: Option<Attributes>) -> Id {
        self.nodes.push(Node { kind, attributes });
        self.nodes.len() - 1
    }

    /// Names of a directory; `None` for what is none.
    pub(super) fn names(&self, id: Id) -> Option<&Names> {
        match &self.nodes[id].kind {
            Kind::Directory { names, .. } => Some(names),
            _ => None,
        }
    }

    pub(super) fn names_mut(&mut self, id: Id) -> Option<&mut Names> {
        match &mut self.nodes[id].kind {
            Kind::Directory { names, .. } => Some(names),
            _ => None,
        }
    }

    /// Adds an entry of layer number `layer`.
    ///
    /// # Errors
    /// A reason, for a hard link to what is not in the layer.
    pub(super) fn add(&mut self, entry: Entry, content: (usize, u64)) -> Result<(), String> {
        let Entry { path, what, attributes } = entry;
        let Some((name, above)) = path.split_last() else {
            match what {
                What::Opaque => self.make_opaque(TOP),
                _ => self.nodes[TOP].attributes = Some(attributes),
            }
            return Ok(());
        };
        let kind = match what {
            What::Nothing => return Ok(()),
            What::Directory => {
                let id = self.make_directory(above, name);
                self.nodes[id].attributes = Some(attributes);
                return Ok(());
            }
            What::Opaque => {
                let id = self.make_directory(above, name);
                self.make_opaque(id);
                return Ok(());
            }
            What::HardLink { to } => return self.link(above, name, &to),
            What::Whiteout => return self.hide(above, name),
            What::File { size } => Kind::File { size, content },
            What::Symlink { to } => Kind::Symlink { to },
            What::Fifo => Kind::Fifo,
            What::Device { is_block, major, minor } => Kind::Device { is_block, major, minor },
        };
        let id = self.push(kind, Some(attributes));
        self.put(above, name, id);
        Ok(())
    }

    /// What the layer itself has stays: a whiteout hides what is below.
    fn hide(&mut self, above: &[String], name: &str) -> Result<(), String> {
        let parent = self.parents(above);
        match self.child(parent, name) {
            Some(id) if self.names(id).is_some() => self.make_opaque(id),
            Some(_) => {}
            None => {
                let id = self.push(Kind::Whiteout, None);
                self.insert(parent, name, id);
            }
        }
        Ok(())
    }

    fn link(&mut self, above: &[String], name: &str, to: &[String]) -> Result<(), String> {
        let absent = || format!("it links to `{}`, which is not a file of the layer", to.join("/"));
        let (last, folder) = to.split_last().ok_or_else(absent)?;
        let folder = self.find(folder).ok_or_else(absent)?;
        let id = self.child(folder, last).ok_or_else(absent)?;
        if matches!(self.nodes[id].kind, Kind::Directory { .. } | Kind::Whiteout) {
            return Err(absent());
        }
        self.put(above, name, id);
        Ok(())
    }

    fn put(&mut self, above: &[String], name: &str, id: Id) {
        let parent = self.parents(above);
        self.insert(parent, name, id);
    }

    fn insert(&mut self, parent: Id, name: &str, id: Id) {
        if let Some(names) = self.names_mut(parent) {
            names.insert(name.to_owned(), id);
        }
    }

    fn child(&self, parent: Id, name: &str) -> Option<Id> {
        self.names(parent)?.get(name).copied()
    }

    fn make_opaque(&mut self, id: Id) {
        if let Kind::Directory { is_opaque, .. } = &mut self.nodes[id].kind {
            *is_opaque = true;
        }
    }

    /// The directory of a path, made where it is missing. What is in its way gives way to it.
    fn make_directory(&mut self, above: &[String], name: &str) -> Id {
        let parent = self.parents(above);
        let existing = self.child(parent, name);
        if let Some(id) = existing.filter(|id| self.names(*id).is_some()) {
            return id;
        }
        let hides = existing.is_some_and(|id| matches!(self.nodes[id].kind, Kind::Whiteout));
        let id = self.push(Kind::Directory { names: Names::new(), is_opaque: hides }, None);
        self.insert(parent, name, id);
        id
    }

    fn parents(&mut self, path: &[String]) -> Id {
        if let Some(id) = self.find(path) {
            return id;
        }
        let mut id = TOP;
        for end in 0..path.len() {
            id = match self.find(&path[..=end]) {
                Some(found) => found,
                None => self.make_directory(&path[..end], &path[end]),
            };
        }
        id
    }

    /// The directory of a path, through links, which never lead outside the tree.
    fn find(&self, path: &[String]) -> Option<Id> {
        let mut links = 0;
        let mut stack = vec![TOP];
        let mut rest: Vec<&str> = path.iter().rev().map(String::as_str).collect();
        while let Some(part) = rest.pop() {
            match part {
                "" | "." => continue,
                ".." => {
                    if stack.len() > 1 {
                        stack.pop();
                    }
                    continue;
                }
                _ => {}
            }
            let id = self.child(*stack.last()?, part)?;
            match &self.nodes[id].kind {
                Kind::Directory { .. } => stack.push(id),
                Kind::Symlink { to } => {
                    links += 1;
                    if links > LINKS {
                        return None;
                    }
                    if to.starts_with('/') {
                        stack.truncate(1);
                    }
                    rest.extend(to.split('/').rev());
                }
                _ => return None,
            }
        }
        stack.last().copied()
    }
}
