//! The OpenAPI 3.1 document, made from one table of operations and the types' own schemas.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::event::EventQuery;
use crate::{
    Adopt, Adopted, BuildImage, Collected, CreateSnapshot, Deploy, DeployQuery, Event, Explain, Explained, FileInfo,
    FileQuery, Garbage, Gc, GcQuery, Health, Image, ImageDetail, ImageQuery, ImagesQuery, InstanceEvent, InstanceQuery,
    InstanceSnapshot, Kill, LoadImages, LogLine, LogQuery, Operation as Op, Problem, Progress, PruneImages,
    PrunedImages, PullImage, Purge, Purged, PushImage, RemoteImage, RemoveImageQuery, RestoreSnapshot, Runtime,
    RuntimeQuery, Scope, SecretDetail, SecretRow, SecretsQuery, ServiceDetail, ServiceRow, ServiceStatus, SetSecret,
    SetSecretOutcome, Snapshot, SnapshotDetail, SnapshotQuery, Stats, TagImage, Undeploy, Version, Workload,
    WorkloadDetail,
};

/// HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are HTTP's")]
pub enum Method {
    Get,
    Put,
    Post,
    Delete,
}

impl Method {
    /// As it is written in a request.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }
}

type SchemaOf = fn(&mut SchemaGenerator) -> Value;

/// One operation of the API.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Method.
    pub method: Method,
    /// Path with `{parameters}`, as in the agent's router.
    pub path: &'static str,
    /// What it does, one line.
    pub summary: &'static str,
    query: Option<SchemaOf>,
    body: Option<SchemaOf>,
    answer: Answer,
    /// A second status with a document.
    also: Option<(u16, SchemaOf)>,
    /// What a stream answers as one document when it is not followed.
    at_once: Option<SchemaOf>,
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Json(u16, SchemaOf),
    Empty,
    Text,
    Sse(SchemaOf),
    WebSocket,
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

const fn op(method: Method, path: &'static str, summary: &'static str, answer: Answer) -> Operation {
    Operation { method, path, summary, query: None, body: None, answer, also: None, at_once: None }
}

impl Operation {
    const fn query(mut self, schema: SchemaOf) -> Self {
        self.query = Some(schema);
        self
    }

    const fn body(mut self, schema: SchemaOf) -> Self {
        self.body = Some(schema);
        self
    }

    const fn also(mut self, status: u16, schema: SchemaOf) -> Self {
        self.also = Some((status, schema));
        self
    }

    const fn at_once(mut self, schema: SchemaOf) -> Self {
        self.at_once = Some(schema);
        self
    }
}

use Answer::{Empty, Json, Sse, Text, WebSocket};
use Method::{Delete, Get, Post, Put};

/// Every operation of the API; the agent's router is tested against it.
pub const OPERATIONS: &[Operation] = &[
    op(Get, "/healthz", "How the agent is, and why it is not well", Json(200, of::<Health>)).also(503, of::<Health>),
    op(Get, "/metrics", "Counters in the Prometheus text format", Text),
    op(Get, "/v1/version", "Version and identity of the agent", Json(200, of::<Version>)),
    op(Get, "/v1/openapi.json", "This document", Json(200, of::<Value>)),
    op(Get, "/v1/runtimes", "Runtimes with health, version and capability", Json(200, of::<Vec<Runtime>>)),
    op(Get, "/v1/services", "Services", Json(200, of::<Vec<ServiceRow>>)),
    op(Get, "/v1/services/{name}", "One service", Json(200, of::<ServiceDetail>)).query(of::<SecretsQuery>),
    op(Put, "/v1/services/{name}", "Deploy a service: 200 unchanged or planned, 202 accepted", Json(202, of::<Deploy>))
        .query(of::<DeployQuery>)
        .also(200, of::<Deploy>)
        .body(of::<hythe_spec::Service>),
    op(Delete, "/v1/services/{name}", "Remove a service", Json(202, of::<Op>)).query(of::<Undeploy>),
    op(Get, "/v1/services/{name}/status", "Desired against observed", Json(200, of::<ServiceStatus>)),
    op(Post, "/v1/services/{name}/stop", "Stop a service or component", Json(202, of::<Op>)).body(of::<Scope>),
    op(Post, "/v1/services/{name}/start", "Start a service or component", Json(202, of::<Op>)).body(of::<Scope>),
    op(Post, "/v1/services/{name}/restart", "Restart a service or component", Json(202, of::<Op>)).body(of::<Scope>),
    op(Post, "/v1/services/{name}/kill", "Send main processes a signal", Json(202, of::<Op>)).body(of::<Kill>),
    op(Post, "/v1/explain", "What drivers would give their engines for a service", Json(200, of::<Vec<Explained>>))
        .query(of::<SecretsQuery>)
        .body(of::<Explain>),
    op(Post, "/v1/adopt", "Take over a container as it runs", Json(200, of::<Adopted>)).body(of::<Adopt>),
    op(Post, "/v1/purge", "Remove the services that are not described and at rest", Json(202, of::<Vec<Purged>>))
        .body(of::<Purge>)
        .also(200, of::<Vec<Purged>>),
    op(Get, "/v1/gc", "Orphaned resources of this agent", Json(200, of::<Vec<Garbage>>)).query(of::<GcQuery>),
    op(Post, "/v1/gc", "Remove orphaned resources of this agent", Json(200, of::<Collected>)).body(of::<Gc>),
    op(Get, "/v1/workloads", "Workloads of all services", Json(200, of::<Vec<Workload>>)),
    op(Get, "/v1/workloads/{name}", "One workload, desired and observed", Json(200, of::<WorkloadDetail>))
        .query(of::<SecretsQuery>),
    op(Get, "/v1/workloads/{name}/logs", "Log lines", Sse(of::<LogLine>)).query(of::<LogQuery>),
    op(Get, "/v1/workloads/{name}/stats", "Resource use now", Json(200, of::<Stats>)),
    op(Post, "/v1/workloads/{name}/restore", "Go back to a snapshot of a workload's files", Json(202, of::<Op>))
        .body(of::<RestoreSnapshot>),
    op(Get, "/v1/workloads/{name}/exec", "Run a process inside", WebSocket),
    op(Get, "/v1/workloads/{name}/attach", "Connect to the main process", WebSocket),
    op(Get, "/v1/workloads/{name}/files", "What is at a path of a workload's instance", Json(200, of::<FileInfo>))
        .query(of::<FileQuery>),
    op(Get, "/v1/workloads/{name}/archive", "Read or write files of a workload's instance as a tar stream", WebSocket),
    op(Get, "/v1/events", "Events, a list or with `follow` a stream", Sse(of::<Event>))
        .query(of::<EventQuery>)
        .at_once(of::<Vec<Event>>),
    op(
        Get,
        "/v1/instances",
        "Everything that runs here, ours or not, an `InstanceSnapshot` or with `follow` a stream",
        Sse(of::<InstanceEvent>),
    )
    .query(of::<InstanceQuery>)
    .at_once(of::<InstanceSnapshot>),
    op(Get, "/v1/operations", "Operations, newest first", Json(200, of::<Vec<Op>>)),
    op(Get, "/v1/operations/{id}", "One operation", Json(200, of::<Op>)),
    op(Delete, "/v1/operations/{id}", "Cancel an operation", Json(202, of::<Op>)),
    op(Get, "/v1/operations/{id}/progress", "Progress from the beginning until it ends", Sse(of::<Progress>)),
    op(Get, "/v1/images", "Images in the engines", Json(200, of::<Vec<Image>>)).query(of::<ImagesQuery>),
    op(Delete, "/v1/images", "Remove an image's name", Empty).query(of::<RemoveImageQuery>),
    op(Get, "/v1/images/local", "One image of an engine", Json(200, of::<ImageDetail>)).query(of::<ImageQuery>),
    op(Get, "/v1/images/remote", "What the registry says of an image", Json(200, of::<RemoteImage>))
        .query(of::<ImageQuery>),
    op(Post, "/v1/images/pull", "Pull an image", Json(202, of::<Op>)).body(of::<PullImage>),
    op(Post, "/v1/images/push", "Push an image", Json(202, of::<Op>)).body(of::<PushImage>),
    op(Post, "/v1/images/build", "Build an image", Json(202, of::<Op>)).body(of::<BuildImage>),
    op(Post, "/v1/images/load", "Take images from an archive", Json(202, of::<Op>)).body(of::<LoadImages>),
    op(Post, "/v1/images/prune", "Remove unused images", Json(200, of::<PrunedImages>)).body(of::<PruneImages>),
    op(Post, "/v1/images/tag", "Give an image one more name", Empty).body(of::<TagImage>),
    op(Get, "/v1/secrets", "Secrets, without their values", Json(200, of::<Vec<SecretRow>>)),
    op(
        Get,
        "/v1/secrets/{name}",
        "One secret, with its value only where it is asked for",
        Json(200, of::<SecretDetail>),
    )
    .query(of::<SecretsQuery>),
    op(Put, "/v1/secrets/{name}", "Set a secret", Json(200, of::<SetSecretOutcome>)).body(of::<SetSecret>),
    op(Delete, "/v1/secrets/{name}", "Remove a secret that no workload uses", Empty),
    op(Get, "/v1/snapshots", "Snapshots of workloads' files", Json(200, of::<Vec<Snapshot>>))
        .query(of::<SnapshotQuery>),
    op(Post, "/v1/snapshots", "Keep the files of a workload's instance", Json(202, of::<Op>))
        .body(of::<CreateSnapshot>),
    op(
        Get,
        "/v1/snapshots/{name}",
        "One snapshot and its mounts; `shop/web:1` or the whole image",
        Json(200, of::<SnapshotDetail>),
    )
    .query(of::<RuntimeQuery>),
    op(Delete, "/v1/snapshots/{name}", "Remove a snapshot", Empty).query(of::<RuntimeQuery>),
];

/// The whole document.
pub fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let item = paths.entry(operation.path).or_insert_with(|| json!({}));
        item[operation.method.key()] = describe(operation, &mut generator);
    }
    let problem = of::<Problem>(&mut generator);
    let schemas = Value::Object(generator.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Hythe agent", "version": crate::VERSION, "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" } },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": "The agent's token, over TCP; its Unix socket needs none." } },
            "responses": { "Problem": { "description": "the request failed", "content": { "application/problem+json": { "schema": problem } } } },
        },
    })
}

fn describe(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut parameters = path_parameters(operation.path);
    if let Some(query) = operation.query {
        parameters.extend(query_parameters(query, generator));
    }
    let (status, response) = match operation.answer {
        Json(status, schema) => (
            status,
            json!({ "description": "done", "content": { "application/json": { "schema": schema(generator) } } }),
        ),
        Empty => (204, json!({ "description": "done" })),
        Text => {
            (200, json!({ "description": "done", "content": { "text/plain": { "schema": { "type": "string" } } } }))
        }
        Sse(schema) => (200, stream_of(schema(generator))),
        WebSocket => (101, json!({ "description": "a WebSocket" })),
    };
    let mut responses =
        json!({ status.to_string(): response, "default": { "$ref": "#/components/responses/Problem" } });
    if let Some((status, schema)) = operation.also {
        let content = json!({ "application/json": { "schema": schema(generator) } });
        responses[status.to_string()] = json!({ "description": "done otherwise", "content": content });
    }
    if let Some(schema) = operation.at_once {
        responses["200"]["content"]["application/json"] = json!({ "schema": schema(generator) });
    }
    let mut described = json!({
        "operationId": operation_id(operation),
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(body) = operation.body {
        described["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": body(generator) } } });
    }
    described
}

/// Each event of a stream by its fields, as server-sent events have them; the data is text that is JSON.
fn stream_of(schema: Value) -> Value {
    let data = json!({ "type": "string", "contentMediaType": "application/json", "contentSchema": schema });
    let text = json!({ "type": "string" });
    let event = json!({ "type": "object", "properties": { "id": text, "event": text, "data": data } });
    json!({ "description": "a stream of events", "content": { "text/event-stream": { "schema": event } } })
}

fn operation_id(operation: &Operation) -> String {
    let words = operation.path.split(['/', '.']).filter(|part| !part.is_empty() && *part != crate::VERSION);
    std::iter::once(operation.method.key().to_owned())
        .chain(words.map(|word| word.trim_matches(['{', '}']).to_owned()))
        .collect::<Vec<_>>()
        .join("-")
}

fn path_parameters(path: &str) -> Vec<Value> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect()
}

/// A query type's fields, one parameter each; the type itself is not a schema of the document.
fn query_parameters(query: SchemaOf, generator: &mut SchemaGenerator) -> Vec<Value> {
    let reference = query(generator);
    let name = reference["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_owned();
    let Some(schema) = generator.definitions_mut().remove(&name) else {
        return Vec::new();
    };
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, schema)| {
            let description = schema["description"].clone();
            let schema = without_null(schema.clone());
            json!({ "name": name, "in": "query", "required": required.contains(&name.as_str()), "description": description, "schema": schema })
        })
        .collect()
}

/// In a query, what is not given is absent: there is no way to write `null`.
fn without_null(mut schema: Value) -> Value {
    let is_null = |value: &Value| *value == json!("null") || value["type"] == "null";
    for key in ["type", "anyOf"] {
        if let Some(choices) = schema[key].as_array_mut() {
            choices.retain(|choice| !is_null(choice));
        }
    }
    if let Some([one]) = schema["type"].as_array().map(Vec::as_slice) {
        schema["type"] = one.clone();
    }
    if let Some(fields) = schema.as_object_mut() {
        fields.retain(|key, value| !value.is_null() && key != "description");
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_parameter_of_a_query_may_be_null() {
        let text = json!({ "type": ["string", "null"], "description": "x", "default": null });
        assert_eq!(without_null(text), json!({ "type": "string" }));
        let choice = json!({ "anyOf": [{ "$ref": "#/x" }, { "type": "null" }] });
        assert_eq!(without_null(choice), json!({ "anyOf": [{ "$ref": "#/x" }] }));
    }

    #[test]
    fn every_operation_needs_the_token_and_says_how_it_fails() {
        let document = document();
        assert_eq!(document["security"], json!([{ "token": [] }]));
        for operation in OPERATIONS {
            let described = &document["paths"][operation.path][operation.method.key()];
            assert!(described["security"].is_null(), "{} has rules of its own", operation.path);
            assert!(described["responses"]["default"].is_object(), "{}", operation.path);
        }
    }
}
