//! Images in the engines and at registries.

use http::Method;
use hythe_api::{
    BuildImage, Image, ImageDetail, ImageQuery, ImagesQuery, LoadImages, Operation, PruneImages, PrunedImages,
    PullImage, PushImage, RemoteImage, RemoveImageQuery, TagImage,
};

use crate::call::Call;
use crate::{Client, ClientError};

impl Client {
    /// Images in the engines.
    pub async fn images(&self, query: &ImagesQuery) -> Result<Vec<Image>, ClientError> {
        Call::get("/v1/images").query(query)?.json(&self.endpoint).await
    }

    /// Removes an image's name; absent there is a `not-found` problem.
    pub async fn remove_image(&self, query: &RemoveImageQuery) -> Result<(), ClientError> {
        let call = Call::new(Method::DELETE, "/v1/images").query(query)?;
        call.empty(&self.endpoint).await
    }

    /// One image of an engine; absent there is a `not-found` problem.
    pub async fn image(&self, query: &ImageQuery) -> Result<ImageDetail, ClientError> {
        Call::get("/v1/images/local").query(query)?.json(&self.endpoint).await
    }

    /// What the image's registry says of it; absent there is a `not-found` problem.
    pub async fn remote_image(&self, query: &ImageQuery) -> Result<RemoteImage, ClientError> {
        Call::get("/v1/images/remote").query(query)?.json(&self.endpoint).await
    }

    /// Pulls an image.
    pub async fn pull(&self, what: &PullImage) -> Result<Operation, ClientError> {
        self.post("/v1/images/pull", what)?.json(&self.endpoint).await
    }

    /// Pushes an image.
    pub async fn push(&self, what: &PushImage) -> Result<Operation, ClientError> {
        self.post("/v1/images/push", what)?.json(&self.endpoint).await
    }

    /// Builds an image from files on the agent's machine.
    pub async fn build(&self, what: &BuildImage) -> Result<Operation, ClientError> {
        self.post("/v1/images/build", what)?.json(&self.endpoint).await
    }

    /// Takes images from an archive on the agent's machine.
    pub async fn load(&self, what: &LoadImages) -> Result<Operation, ClientError> {
        self.post("/v1/images/load", what)?.json(&self.endpoint).await
    }

    /// Removes images that nobody needs.
    pub async fn prune_images(&self, what: &PruneImages) -> Result<PrunedImages, ClientError> {
        self.post("/v1/images/prune", what)?.json(&self.endpoint).await
    }

    /// Gives an image one more name.
    pub async fn tag(&self, what: &TagImage) -> Result<(), ClientError> {
        self.post("/v1/images/tag", what)?.empty(&self.endpoint).await
    }
}
