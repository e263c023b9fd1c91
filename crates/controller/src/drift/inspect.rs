//! Asks engines what is needed for a comparison, each question once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hythe_runtime::labels::is_managers;
use hythe_runtime::{Error, Filter, Image, Listed, Observed, OpContext, Plan, Runtime};
use hythe_spec::ImageRef;
use hythe_store::InstanceRecord;
use tokio::sync::OnceCell;

use super::{compare, state};
use crate::Controller;
use crate::lookup::{inspect, named};
use crate::model::{Difference, WorkloadState};

/// Answers by question; those who ask at once wait for one answer.
#[derive(Debug)]
struct Answers<T>(Mutex<BTreeMap<String, Arc<OnceCell<T>>>>);

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Answers<T> {
    async fn get(&self, question: String, ask: impl Future<Output = T>) -> T {
        let answer = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(question).or_default().clone();
        answer.get_or_init(|| ask).await.clone()
    }

    fn put(&self, question: String, answer: T) {
        let answer = Arc::new(OnceCell::new_with(Some(answer)));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(question, answer);
    }

    fn all(&self) -> Vec<(String, T)> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.iter().filter_map(|(question, answer)| Some((question.clone(), answer.get()?.clone()))).collect()
    }
}

/// What does not belong to a single instance, asked once.
#[derive(Debug, Default)]
pub(super) struct Shared {
    rows: Answers<Arc<Vec<Listed>>>,
    images: Answers<Option<Arc<Image>>>,
}

impl Shared {
    /// Takes what a runtime's lists say, and of what was asked `earlier` what they show to be so still.
    pub(super) fn learn(&self, runtime: &str, rows: Vec<Listed>, images: &[Image], earlier: &Self) {
        self.rows.put(runtime.to_owned(), Arc::new(rows));
        for (question, answer) in earlier.images.all() {
            let still = |known: &Image, name: &str| {
                let named = |listed: &&Image| listed.tags.iter().chain(&listed.digests).any(|other| other == name);
                images.iter().filter(named).any(|listed| listed.id == known.id)
            };
            let name = question.strip_prefix(runtime).and_then(|rest| rest.strip_prefix(' '));
            if answer.as_ref().zip(name).is_some_and(|(known, name)| still(known, name)) {
                self.images.put(question, answer);
            }
        }
    }
}

/// One inspection of workloads, with shared answers of the engines.
#[derive(Debug)]
pub(super) struct Inspection<'a> {
    controller: &'a Controller,
    shared: Arc<Shared>,
}

impl<'a> Inspection<'a> {
    pub(super) const fn new(controller: &'a Controller, shared: Arc<Shared>) -> Self {
        Self { controller, shared }
    }

    /// Where a workload's instance differs from what is desired.
    pub(super) async fn at(&self, answer: &WorkloadState) -> Vec<Difference> {
        let runtime = match &answer.observed.current {
            Some(current) => &current.runtime,
            None => &answer.desired.placement.runtime,
        };
        let connected = match self.controller.runtimes.get(runtime) {
            Ok(connected) => connected,
            Err(error) => return vec![state::unreachable(answer, error.message())],
        };
        let (mut found, rows) = tokio::join!(self.instance(answer, &connected), self.rows(runtime, &connected));
        found.extend(state::unexpected_instances(answer, &rows));
        found
    }

    async fn instance(&self, answer: &WorkloadState, runtime: &Arc<dyn Runtime>) -> Vec<Difference> {
        let Some(current) = &answer.observed.current else {
            return state::absent(answer).into_iter().collect();
        };
        let plan = self.controller.plan_of_current(answer);
        let (seen, image) = tokio::join!(self.inspect(runtime, current), self.image(runtime, &plan.image));
        match seen {
            Ok(seen) => {
                let mut found: Vec<Difference> = state::state(answer, seen.state).into_iter().collect();
                found.extend(state::name(&current.name, &seen.name));
                found.extend(state::generation(answer));
                found.extend(compare::compare(&plan, &seen, image.as_deref()));
                found.retain(|difference| !(current.adopted && is_of_an_adoption(difference)));
                found
            }
            Err(error) if error.is_not_found() => state::absent(answer).into_iter().collect(),
            Err(error) => vec![state::unreachable(answer, error.message())],
        }
    }

    /// The instance by its id. An instance that was recreated out of band has another id; this agent's labels and the name identify the attempt.
    async fn inspect(&self, runtime: &Arc<dyn Runtime>, current: &InstanceRecord) -> Result<Observed, Error> {
        let cx = OpContext::new("status");
        let owner = self.controller.owner();
        match inspect(runtime.as_ref(), &cx, owner, current).await {
            Err(error) if error.is_not_found() && current.id.is_some() => {
                named(runtime.as_ref(), &cx, owner, current).await
            }
            outcome => outcome,
        }
    }

    /// What the name means in the engine now; unknown where it means nothing there.
    async fn image(&self, runtime: &Arc<dyn Runtime>, name: &ImageRef) -> Option<Arc<Image>> {
        let ask = async {
            let found = runtime.images()?.get(&OpContext::new("status"), name).await;
            found.ok().map(Arc::new)
        };
        self.shared.images.get(format!("{} {name}", runtime.info().name), ask).await
    }

    /// All instances of this agent; none where the list fails: the inspect of each reports why.
    async fn rows(&self, name: &str, runtime: &Arc<dyn Runtime>) -> Arc<Vec<Listed>> {
        let ask = async {
            let ours = Filter::owned_by(self.controller.owner());
            Arc::new(runtime.list(&OpContext::new("status"), &ours).await.unwrap_or_default())
        };
        self.shared.rows.get(name.to_owned(), ask).await
    }
}

/// An adopted instance has the labels and aliases of the tool that created it, not this agent's.
fn is_of_an_adoption(difference: &Difference) -> bool {
    let field = difference.field.as_str();
    let alias = field.starts_with("networks.") && field.contains(".aliases.");
    alias || field.strip_prefix("labels.").is_some_and(is_managers)
}

impl Controller {
    /// The plan that the current instance was made from.
    fn plan_of_current(&self, answer: &WorkloadState) -> Plan {
        let current = answer.observed.current.as_ref();
        let spec = current.map_or(&answer.desired.spec, |current| &current.spec);
        let (generation, attempt) = current.map_or((0, 0), |current| (current.generation, current.attempt));
        self.plan_of(&answer.desired.service, spec, generation, attempt)
    }
}
