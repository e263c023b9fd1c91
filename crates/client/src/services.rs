//! Services: list, deploy, status, stop, start, restart, remove.

use http::Method;
use hythe_api::{Deploy, DeployQuery, Operation, Scope, ServiceDetail, ServiceRow, ServiceStatus, Undeploy};
use serde::Serialize;

use crate::call::{Call, segment};
use crate::{Client, ClientError};

impl Client {
    /// Services.
    pub async fn services(&self) -> Result<Vec<ServiceRow>, ClientError> {
        Call::get("/v1/services").json(&self.endpoint).await
    }

    /// One service, desired and observed.
    pub async fn service(&self, name: &str) -> Result<ServiceDetail, ClientError> {
        Call::get(service(name)).json(&self.endpoint).await
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

    async fn change(&self, name: &str, verb: &str, scope: &Scope) -> Result<Operation, ClientError> {
        self.post(format!("{}/{verb}", service(name)), scope)?.json(&self.endpoint).await
    }
}

fn service(name: &str) -> String {
    format!("/v1/services/{}", segment(name))
}
