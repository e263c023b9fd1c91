//! Asks engines what is needed for a comparison, each question once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hythe_runtime::labels::is_keepers;
use hythe_runtime::{Error, Filter, Image, InstanceId, Listed, Observed, OpContext, Plan, Runtime};
use hythe_spec::ImageRef;
use hythe_store::InstanceRecord;
use tokio::sync::OnceCell;

use super::{Difference, compare, state};
use crate::Controller;
use crate::directory::Cell;
use crate::worker::reference;

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
        let cell = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(question).or_default().clone();
        cell.get_or_init(|| ask).await.clone()
    }

    fn put(&self, question: String, answer: T) {
        let cell = Arc::new(OnceCell::new_with(Some(answer)));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(question, cell);
    }

    fn all(&self) -> Vec<(String, T)> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.iter().filter_map(|(question, cell)| Some((question.clone(), cell.get()?.clone()))).collect()
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

/// One look at the engines.
#[derive(Debug)]
pub(super) struct Look<'a> {
    controller: &'a Controller,
    shared: Arc<Shared>,
}

impl<'a> Look<'a> {
    pub(super) const fn new(controller: &'a Controller, shared: Arc<Shared>) -> Self {
        Self { controller, shared }
    }

    /// Where a workload's instance differs from what is desired.
    pub(super) async fn at(&self, cell: &Cell) -> Vec<Difference> {
        let runtime = match &cell.observed.current {
            Some(current) => &current.runtime,
            None => &cell.desired.placement.runtime,
        };
        let connected = match self.controller.runtimes.get(runtime) {
            Ok(connected) => connected,
            Err(error) => return vec![state::unreachable(cell, error.message())],
        };
        let (mut found, rows) = tokio::join!(self.instance(cell, &connected), self.rows(runtime, &connected));
        found.extend(state::extras(cell, &rows));
        found
    }

    async fn instance(&self, cell: &Cell, runtime: &Arc<dyn Runtime>) -> Vec<Difference> {
        let Some(current) = &cell.observed.current else {
            return state::absent(cell).into_iter().collect();
        };
        let plan = self.controller.plan_of_current(cell);
        let (seen, image) = tokio::join!(self.inspect(runtime, current, &plan), self.image(runtime, &plan.image));
        match seen {
            Ok(seen) => {
                let mut found: Vec<Difference> = state::state(cell, seen.state).into_iter().collect();
                found.extend(state::name(&current.name, &seen.name));
                found.extend(state::generation(cell));
                found.extend(compare::compare(&plan, &seen, image.as_deref()));
                found.retain(|difference| !(current.adopted && is_of_an_adoption(difference)));
                found
            }
            Err(error) if error.is_not_found() => state::absent(cell).into_iter().collect(),
            Err(error) => vec![state::unreachable(cell, error.message())],
        }
    }

    /// The instance by its id; made anew by hand, it has another one, and our labels and its name say that it is the same attempt.
    async fn inspect(
        &self,
        runtime: &Arc<dyn Runtime>,
        current: &InstanceRecord,
        plan: &Plan,
    ) -> Result<Observed, Error> {
        let cx = OpContext::new("status");
        match runtime.inspect(&cx, &reference(current)).await {
            Err(error) if error.is_not_found() && current.id.is_some() => {
                let named = runtime.inspect(&cx, &InstanceId(current.name.clone())).await?;
                if is_attempt(&named, plan) { Ok(named) } else { Err(error) }
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

    /// All instances of ours; none where the engine does not tell, which the inspect of each says better.
    async fn rows(&self, name: &str, runtime: &Arc<dyn Runtime>) -> Arc<Vec<Listed>> {
        let ask = async {
            let ours = Filter::owned_by(self.controller.owner());
            Arc::new(runtime.list(&OpContext::new("status"), &ours).await.unwrap_or_default())
        };
        self.shared.rows.get(name.to_owned(), ask).await
    }
}

/// What was made by somebody else has the labels of its maker and the names it was given, not ours.
fn is_of_an_adoption(difference: &Difference) -> bool {
    let field = difference.field.as_str();
    let alias = field.starts_with("networks.") && field.contains(".aliases.");
    alias || field.strip_prefix("labels.").is_some_and(is_keepers)
}

/// Whether it carries the labels of this very attempt.
fn is_attempt(seen: &Observed, plan: &Plan) -> bool {
    let (wanted, name) = (&plan.identity, plan.name());
    seen.identity
        .as_ref()
        .is_some_and(|found| found.owner == wanted.owner && found.instance_name() == name && seen.name == name)
}

impl Controller {
    /// The plan that the current instance was made from.
    fn plan_of_current(&self, cell: &Cell) -> Plan {
        let current = cell.observed.current.as_ref();
        let recipe = current.map_or(&cell.desired.recipe, |current| &current.recipe);
        let (generation, attempt) = current.map_or((0, 0), |current| (current.generation, current.attempt));
        self.plan_of(&cell.desired.service, recipe, generation, attempt)
    }
}
