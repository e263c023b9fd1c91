//! Two agents on one engine: what one has made, the other never touches.

use crate::agent::Agent;
use crate::files::{one, stays};
use crate::fixture::Fixture;
use crate::program::Ran;
use crate::trial::trials;

trials!("two_agents":
    deploy_of_a_service_that_another_agent_has_is_refused_and_harms_nothing Real,
);

const VOLUME: &str = "volumes = ['data:/data']";

fn deploy_of_a_service_that_another_agent_has_is_refused_and_harms_nothing(fixture: &mut Fixture<'_>) {
    let service = fixture.service.clone();
    fixture.deploy(&one(&service, &stays("up; echo kept >/data/file"), VOLUME)).ok();
    let first = fixture.await_state("running");
    let other = Agent::start(&fixture.subject.config());
    let refused = |what: &str, keys: &str| -> Ran {
        let file = fixture.file(&one(&service, &stays("other"), keys));
        other.hythe(&["deploy", "--wait", &file]).ends_with(1).says(&[what, "rename the service: another agent"])
    };
    let owner = fixture.agent.owner_label().replace("hythe.owner=", "");
    // Its first generation is the first of the other too: there it is the instance's name that is taken.
    refused("instance `", "network = 'none'").says(&[&owner]);
    refused("network `", "").says(&[&owner]);
    refused("volume `", VOLUME).says(&[&owner]);
    other.hythe(&["undeploy", "--volumes", &service]).ok();
    let now = fixture.it();
    assert_eq!((&now["instance"]["id"], &now["restarts"]), (&first["instance"]["id"], &0.into()), "{now:#}");
    fixture.has_instances(1);
    assert!(fixture.differences().is_empty(), "{:?}", fixture.differences());
    fixture.hythe(&["stop", &service]).ok();
    fixture.hythe(&["start", &service]).ok();
    assert_eq!(fixture.hythe(&["exec", &service, "cat", "/data/file"]).ok().out, "kept\n");
}
