//! Where the parts of a normalised service stand in the file.

use std::collections::HashMap;

use crate::file::findings::Place;
use crate::file::tree::{Kind, Node};

/// Places by path of the normalised service; at first those of the file itself.
#[derive(Debug, Default)]
pub(super) struct Places(HashMap<String, Place>);

impl Places {
    pub(super) fn of(tree: &Node) -> Self {
        let mut places = Self::default();
        places.collect(tree);
        places
    }

    fn collect(&mut self, node: &Node) {
        match &node.kind {
            Kind::Table(entries) => entries.iter().for_each(|entry| {
                self.collect(&entry.value);
                // A table has no text of its own that could be underlined; its key has. What is wrong with a label or
                // variable is its name.
                let named = node.place.path.ends_with("labels") || node.place.path.ends_with("env");
                if named || matches!(entry.value.kind, Kind::Table(_)) {
                    self.0.insert(entry.key_place.path.clone(), entry.key_place.clone());
                }
            }),
            Kind::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Kind::Text(_) | Kind::Integer(_) | Kind::Float(_) | Kind::Boolean(_) | Kind::Date => {}
        }
        self.0.insert(node.place.path.clone(), node.place.clone());
    }

    /// Says that this part of the normalised service comes from that place.
    pub(super) fn put(&mut self, path: String, place: &Place) {
        self.0.insert(path, place.clone());
    }

    /// The path in the file of a part of the normalised service.
    pub(super) fn path<'a>(&'a self, path: &'a str) -> &'a str {
        self.0.get(path).map_or(path, |place| &place.path)
    }

    /// The place of a part, or of the smallest thing around it that is in the file.
    pub(super) fn find(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.0.get(path) {
                return place.clone();
            }
            match path.rfind(['.', '[']) {
                Some(at) => path = &path[..at],
                None => return self.0.get("").cloned().unwrap_or_default(),
            }
        }
    }
}
