//! Images: the store of `hythe_oci`.

use std::path::Path;

use async_trait::async_trait;
use hythe_local::stored_images::StoredImages;
use hythe_runtime::{
    BuildOutput, BuildRequest, Error, ErrorKind, Image, Images, OpContext, ProgressSink, RemoteImage, Result,
};
use hythe_spec::{ImageRef, Platform};

use crate::driver::Vm;

impl Vm {
    pub(crate) fn stored(&self) -> StoredImages<'_> {
        let context = &self.context;
        StoredImages { store: &context.store, registry: &context.registry, instances: &context.instances }
    }
}

#[async_trait]
impl Images for Vm {
    async fn pull(
        &self,
        cx: &OpContext,
        image: &ImageRef,
        platform: Option<&Platform>,
        progress: &ProgressSink,
    ) -> Result<Image> {
        self.stored().pull(cx, image, platform, progress).await
    }

    async fn get(&self, cx: &OpContext, image: &ImageRef) -> Result<Image> {
        self.stored().get(cx, image).await
    }

    async fn list(&self, cx: &OpContext) -> Result<Vec<Image>> {
        self.stored().list(cx).await
    }

    async fn remove(&self, cx: &OpContext, image: &ImageRef) -> Result<()> {
        self.stored().remove(cx, image).await
    }

    async fn unused(&self, cx: &OpContext) -> Result<Vec<Image>> {
        self.stored().unused(cx).await
    }

    async fn discard(&self, cx: &OpContext, id: &str) -> Result<()> {
        self.stored().discard(cx, id).await
    }

    async fn tag(&self, cx: &OpContext, image: &ImageRef, name: &ImageRef) -> Result<()> {
        self.stored().tag(cx, image, name).await
    }

    async fn push(&self, cx: &OpContext, image: &ImageRef, progress: &ProgressSink) -> Result<()> {
        self.stored().push(cx, image, progress).await
    }

    async fn build(&self, _cx: &OpContext, _request: &BuildRequest, _progress: &ProgressSink) -> Result<BuildOutput> {
        let message = "images are not built with virtual machines";
        let error = Error::new(ErrorKind::Unsupported, "build", message);
        Err(error.hint("build the image on another runtime, push it, and pull it here"))
    }

    async fn load(
        &self,
        cx: &OpContext,
        archive: &Path,
        name: Option<&ImageRef>,
        _progress: &ProgressSink,
    ) -> Result<Vec<Image>> {
        self.stored().load(cx, archive, name).await
    }

    async fn resolve(&self, cx: &OpContext, image: &ImageRef) -> Result<RemoteImage> {
        self.stored().resolve(cx, image).await
    }
}
