//! Services: list, deploy, status, stop, start, restart, kill, remove.

use http::Method;
use hythe_api::{
    Deploy, DeployQuery, Kill, Operation, Scope, SecretsQuery, ServiceDetail, ServiceRow, ServiceStatus, Undeploy,
};
use serde::Serialize;

use crate::call::{Call, segment};
use crate::{Client, ClientError};

impl Client {
    /// Services.
    pub async fn services(&self) -> Result<Vec<ServiceRow>, ClientError> {
        Call::get("/v1/services").json(&self.endpoint).await
    }

    /// One service, desired and observed; only with its secrets shown can it be deployed again.
    pub async fn service(&self, name: &str, query: &SecretsQuery) -> Result<ServiceDetail, ClientError> {
        Call::get(service(name)).query(query)?.json(&self.endpoint).await
    }

    /// Desired against observed.
    pub async fn status(&self, name: &str) -> Result<ServiceStatus, ClientError> {
        Call::get(format!("{}/status", service(name))).json(&self.endpoint).await
    }

    /// Deploys a normalised service (`hythe_spec::Service` in JSON); its operation is followed with [`Client::progress`].
    pub async fn deploy(
        &self,
        name: &str,
        desired: &impl Serialize,
        query: &DeployQuery,
    ) -> Result<Deploy, ClientError> {
        let call = Call::new(Method::PUT, service(name)).query(query)?.body(desired)?;
        call.json(&self.endpoint).await
    }

    /// Removes a service.
    pub async fn undeploy(&self, name: &str, query: &Undeploy) -> Result<Operation, ClientError> {
        let call = Call::new(Method::DELETE, service(name)).query(query)?;
        call.json(&self.endpoint).await
    }

    /// Stops a service or one of its components.
    pub async fn stop(&self, name: &str, scope: &Scope) -> Result<Operation, ClientError> {
        self.change(name, "stop", scope).await
    }

    /// Starts a service or one of its components.
    pub async fn start(&self, name: &str, scope: &Scope) -> Result<Operation, ClientError> {
        self.change(name, "start", scope).await
    }

    /// Restarts a service or one of its components.
    pub async fn restart(&self, name: &str, scope: &Scope) -> Result<Operation, ClientError> {
        self.change(name, "restart", scope).await
    }

    /// Sends a signal to the main processes of a service or of one of its components.
    pub async fn kill(&self, name: &str, kill: &Kill) -> Result<Operation, ClientError> {
        self.post(format!("{}/kill", service(name)), kill)?.json(&self.endpoint).await
    }

    async fn change(&self, name: &str, verb: &str, scope: &Scope) -> Result<Operation, ClientError> {
        self.post(format!("{}/{verb}", service(name)), scope)?.json(&self.endpoint).await
    }
}

fn service(name: &str) -> String {
    format!("/v1/services/{}", segment(name))
}
