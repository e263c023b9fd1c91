//! An image with another configuration over the same layers.

use hythe_spec::ImageRef;
use serde_json::Value;

use crate::store::{Store, Stored};
use crate::{Error, Kind};

impl Store {
    /// Makes an image of `base` with its configuration's `config` changed, under a name. Blocking.
    ///
    /// # Errors
    /// `NotFound` when the base is not in the store; `Exhausted`, `Internal`.
    pub fn configure(&self, base: &Stored, name: &ImageRef, change: impl FnOnce(&mut Value)) -> Result<Stored, Error> {
        let _using = self.using()?;
        let mut document = self.document(&base.id)?;
        let fields = document.as_object_mut().ok_or_else(|| {
            Error::new(Kind::Invalid, format!("image `{}` cannot be used: its configuration is no object", base.id))
        })?;
        fields.insert("created".to_owned(), hythe_host::now().to_string().into());
        change(fields.entry("config").or_insert_with(|| Value::Object(serde_json::Map::new())));
        let image = self.put_image(&document, self.document(&base.digest)?, &base.media_type)?;
        self.name(&image, Some(name.to_string()))?;
        self.get(name)
    }
}
