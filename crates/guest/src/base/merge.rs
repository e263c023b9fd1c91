//! Layers become one tree, as overlayfs shows them.

use super::tree::{Id, Kind, Names, TOP, Tree};
use super::{archive, bad, entry};
use crate::{GuestError, Layer};

/// Bytes of files in one image at most.
const LARGEST: u64 = 256 << 30;

/// Reads the headers of all layers and merges them, lowest first.
pub(super) fn flatten(layers: &[Layer]) -> Result<Tree, GuestError> {
    let mut merged = Tree::new();
    let mut bytes = 0_u64;
    for (number, layer) in layers.iter().enumerate() {
        let upper = read(layer, number, &mut bytes).map_err(|why| bad(layer, why))?;
        merge(&mut merged, upper);
    }
    Ok(merged)
}

fn read(layer: &Layer, number: usize, bytes: &mut u64) -> Result<Tree, String> {
    let mut tree = Tree::new();
    let source = layer.open().map_err(|error| error.to_string())?;
    archive::walk(source, |index, raw, _| {
        *bytes = bytes.saturating_add(raw.size);
        if *bytes > LARGEST {
            return Err(format!("its image has files of more than {LARGEST} bytes"));
        }
        let shown = String::from_utf8_lossy(&raw.name).into_owned();
        tree.add(entry::read(&raw)?, (number, index))
            .map_err(|why| format!("its entry `{shown}` cannot be unpacked: {why}"))
    })?;
    Ok(tree)
}

/// Puts a layer's tree on top of what is below.
fn merge(lower: &mut Tree, upper: Tree) {
    // Two names of one file stay two names of one file.
    let mut copies = vec![None; upper.len()];
    let mut work = vec![(TOP, TOP)];
    while let Some((from, to)) = work.pop() {
        let node = upper.node(from);
        if node.attributes.is_some() {
            lower.node_mut(to).attributes.clone_from(&node.attributes);
        }
        let Kind::Directory { names, is_opaque } = &node.kind else { continue };
        if let Some(below) = lower.names_mut(to).filter(|_| *is_opaque) {
            below.clear();
        }
        for (name, id) in names {
            match &upper.node(*id).kind {
                Kind::Whiteout => {
                    lower.names_mut(to).and_then(|below| below.remove(name));
                }
                Kind::Directory { .. } => work.push((*id, directory(lower, to, name))),
                _ => {
                    let copy = *copies[*id].get_or_insert_with(|| copy(lower, &upper, *id));
                    insert(lower, to, name, copy);
                }
            }
        }
    }
}

fn copy(lower: &mut Tree, upper: &Tree, id: Id) -> Id {
    let node = upper.node(id).clone();
    lower.push(node.kind, node.attributes)
}

/// The directory below that an upper one is merged with; what is no directory is replaced.
fn directory(lower: &mut Tree, parent: Id, name: &str) -> Id {
    let existing = lower.names(parent).and_then(|names: &Names| names.get(name).copied());
    if let Some(id) = existing.filter(|id| lower.names(*id).is_some()) {
        return id;
    }
    let id = lower.push(Kind::directory(), None);
    insert(lower, parent, name, id);
    id
}

fn insert(tree: &mut Tree, parent: Id, name: &str, id: Id) {
    if let Some(names) = tree.names_mut(parent) {
        names.insert(name.to_owned(), id);
    }
}
