//! Images in the engine, and the registries it can reach.

use std::collections::{BTreeMap, BTreeSet};

use hythe_runtime::{Image, ImageConfig};
use hythe_spec::{ImageRef, Platform};
use jiff::Timestamp;

use crate::engine::hex_digest;
use crate::files::{Node, Tree};
use crate::shell::APPLETS;

/// An image without its names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    pub(crate) config: ImageConfig,
    pub(crate) tree: Tree,
    /// Its platform; `None`: the host's.
    pub(crate) platform: Option<Platform>,
}

impl Content {
    /// A busybox with two users.
    pub(crate) fn test_image() -> Self {
        let mut tree = Tree::default();
        for applet in APPLETS {
            tree.put_file(&format!("/bin/{applet}"), b"applet", true);
        }
        tree.put_file("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n", false);
        tree.put_file("/etc/group", b"root:x:0:\napp:x:1000:\n", false);
        for directory in ["/tmp", "/root", "/home/app", "/dev/shm", "/var/tmp"] {
            tree.put(directory, Node::Directory);
        }
        let env = BTreeMap::from([("PATH".to_owned(), "/bin:/sbin:/usr/bin:/usr/sbin".to_owned())]);
        Self {
            config: ImageConfig { command: vec!["sh".to_owned()], env, ..ImageConfig::default() },
            tree,
            platform: None,
        }
    }

    /// The id that this content always has.
    pub(crate) fn id(&self) -> String {
        let text = self.platform.as_ref().map_or_else(String::new, ToString::to_string);
        self.hashed(text)
    }

    fn hashed(&self, mut text: String) -> String {
        text.push_str(&format!("{:?}", self.config));
        for (path, node) in self.tree.nodes() {
            text.push_str(&format!("{path}{node:?}"));
        }
        format!("sha256:{}", hex_digest(text.as_bytes()))
    }

    /// The digest of its manifest, or of the index that has one for every platform.
    pub(crate) fn digest(&self) -> String {
        format!("sha256:{}", hex_digest(format!("manifest of {}", self.hashed(String::new())).as_bytes()))
    }
}

#[derive(Debug, Clone)]
struct Stored {
    content: Content,
    created: Timestamp,
    tags: BTreeSet<String>,
    digests: BTreeSet<String>,
}

/// A registry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registry {
    refuses: bool,
    /// By `path:tag` and by `path@digest`.
    images: BTreeMap<String, Content>,
}

impl Registry {
    pub(crate) fn with(names: impl IntoIterator<Item = String>) -> Self {
        let mut registry = Self::default();
        for name in names {
            let mut content = Content::test_image();
            content.config.labels.insert("name".to_owned(), name.clone());
            let (path, tag) = name.rsplit_once(':').unwrap_or((&name, "latest"));
            registry.put(path, Some(tag), content);
        }
        registry
    }

    pub(crate) fn refusing() -> Self {
        Self { refuses: true, images: BTreeMap::new() }
    }

    fn put(&mut self, path: &str, tag: Option<&str>, content: Content) {
        self.images.insert(format!("{path}@{}", content.digest()), content.clone());
        if let Some(tag) = tag {
            self.images.insert(format!("{path}:{tag}"), content);
        }
    }
}

/// What a registry answers.
pub(crate) enum RegistryAnswer<T> {
    Unreachable,
    Refused,
    Absent,
    Found(T),
}

/// All images by id, and the registries by host.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    stored: BTreeMap<String, Stored>,
    pub(crate) registries: BTreeMap<String, Registry>,
}

impl Catalogue {
    pub(crate) fn add_test_image(&mut self, reference: &ImageRef) {
        self.add(Content::test_image(), reference, Timestamp::UNIX_EPOCH);
    }

    /// Gives a content its name, taking the name from any other.
    pub(crate) fn add(&mut self, content: Content, reference: &ImageRef, created: Timestamp) -> Image {
        let id = content.id();
        let name = tag_of(reference);
        if let Some(name) = &name {
            for other in self.stored.values_mut() {
                other.tags.remove(name);
            }
        }
        let digest = format!("{}@{}", reference.repository(), content.digest());
        if reference.digest.is_some() {
            self.take_digest(&digest);
        }
        let stored = self.stored.entry(id.clone()).or_insert_with(|| Stored {
            content,
            created,
            tags: BTreeSet::new(),
            digests: BTreeSet::new(),
        });
        stored.tags.extend(name);
        if reference.digest.is_some() {
            stored.digests.insert(digest);
        }
        image(&id, stored)
    }

    pub(crate) fn know_digest(&mut self, id: &str, reference: &ImageRef) {
        let Some(stored) = self.stored.get(id) else { return };
        let digest = format!("{}@{}", reference.repository(), stored.content.digest());
        self.take_digest(&digest);
        if let Some(stored) = self.stored.get_mut(id) {
            stored.digests.insert(digest);
        }
    }

    /// From the image of another platform.
    fn take_digest(&mut self, digest: &str) {
        for stored in self.stored.values_mut() {
            stored.digests.remove(digest);
        }
    }

    pub(crate) fn find(&self, reference: &ImageRef) -> Option<(Image, Content)> {
        let wanted = |stored: &Stored| match (&reference.digest, tag_of(reference)) {
            (Some(digest), _) => stored.digests.contains(&format!("{}@{digest}", reference.repository())),
            (None, Some(name)) => stored.tags.contains(&name),
            (None, None) => false,
        };
        let (id, stored) = self.stored.iter().find(|(_, stored)| wanted(stored))?;
        Some((image(id, stored), stored.content.clone()))
    }

    pub(crate) fn named(&self) -> Vec<Image> {
        let named = self.stored.iter().filter(|(_, stored)| !stored.tags.is_empty());
        let mut images: Vec<Image> = named.map(|(id, stored)| image(id, stored)).collect();
        images.sort_by(|a, b| a.tags.cmp(&b.tags));
        images
    }

    /// With a name or without, sorted by first tag, then by id.
    pub(crate) fn all(&self) -> Vec<Image> {
        let mut images: Vec<Image> = self.stored.iter().map(|(id, stored)| image(id, stored)).collect();
        images.sort_by(|a, b| (&a.tags, &a.id).cmp(&(&b.tags, &b.id)));
        images
    }

    pub(crate) fn forget(&mut self, id: &str) {
        self.stored.remove(id);
    }

    /// Takes a name away; the image goes with its last one.
    pub(crate) fn remove_name(&mut self, reference: &ImageRef) {
        let name = tag_of(reference).unwrap_or_default();
        let digest = reference.digest.as_ref().map(|digest| format!("{}@{digest}", reference.repository()));
        self.stored.retain(|_, stored| {
            let named =
                stored.tags.remove(&name) | digest.as_ref().is_some_and(|digest| stored.digests.contains(digest));
            !named || !stored.tags.is_empty()
        });
    }

    pub(crate) fn ask(&self, reference: &ImageRef) -> RegistryAnswer<Content> {
        let Some(registry) = self.registries.get(&reference.domain) else {
            // No registry is called so.
            let is_built_here = reference.domain == "localhost";
            return if is_built_here { RegistryAnswer::Absent } else { RegistryAnswer::Unreachable };
        };
        if registry.refuses {
            return RegistryAnswer::Refused;
        }
        let key = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => format!("{}@{digest}", reference.path),
            (None, tag) => format!("{}:{}", reference.path, tag.as_deref().unwrap_or("latest")),
        };
        registry.images.get(&key).cloned().map_or(RegistryAnswer::Absent, RegistryAnswer::Found)
    }

    pub(crate) fn upload(&mut self, reference: &ImageRef, content: Content) -> RegistryAnswer<()> {
        let Some(registry) = self.registries.get_mut(&reference.domain) else { return RegistryAnswer::Unreachable };
        if registry.refuses {
            return RegistryAnswer::Refused;
        }
        registry.put(&reference.path, reference.tag.as_deref(), content);
        RegistryAnswer::Found(())
    }
}

fn tag_of(reference: &ImageRef) -> Option<String> {
    reference.tag.as_ref().map(|tag| format!("{}:{tag}", reference.repository()))
}

fn image(id: &str, stored: &Stored) -> Image {
    Image {
        id: id.to_owned(),
        tags: stored.tags.iter().cloned().collect(),
        digests: stored.digests.iter().cloned().collect(),
        size: stored.content.tree.size(),
        created: Some(stored.created),
        config: Some(stored.content.config.clone()),
        platform: Some(stored.content.platform.clone().unwrap_or_else(Platform::own)),
    }
}
