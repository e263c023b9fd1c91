//! What cannot be honoured is refused before anything is touched.

use hythe_runtime::platforms::runnable_platforms;
use hythe_runtime::{Error, ErrorKind, Feature, Plan};
use hythe_spec::{Inbound, Outbound, Platform};

use crate::failure::{Outcome, refused};
use crate::fixture::Fixture;
use crate::need::Need::{Can, Cannot};
use crate::trial::trials;

trials! { "refusal":
    a_list_of_hosts_to_reach [Cannot(Feature::EgressAllowList)],
    a_list_of_ports_to_reach [Cannot(Feature::EgressAllowList)],
    a_list_of_hosts_that_may_connect [Cannot(Feature::IngressAllowList)],
    image_for_a_platform_that_this_host_cannot_run [Can(Feature::Platform)],
    every_refusal_is_reported_at_once [Cannot(Feature::EgressAllowList), Cannot(Feature::IngressAllowList)],
    an_open_profile_is_no_list [],
}

/// The error, once it is sure that nothing was made.
async fn untouched(fixture: &Fixture, plan: &Plan) -> Outcome<Error> {
    let error = refused(fixture.runtime().create(&fixture.cx, plan).await, ErrorKind::Unsupported);
    refused(fixture.runtime().run(&fixture.cx, plan).await, ErrorKind::Unsupported);
    assert!(fixture.names().await?.is_empty());
    assert!(error.message().contains(&fixture.runtime().info().name), "{error}");
    Ok(error)
}

async fn a_list_of_hosts_to_reach(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.outbound = Some(Outbound { allow_host: vec!["a.example".to_owned()], ..Outbound::default() });
    let error = untouched(fixture, &plan).await?;
    assert!(error.message().contains("permissions.network.outbound"), "{error}");
    Ok(())
}

async fn a_list_of_ports_to_reach(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.outbound = Some(Outbound { allow_port: vec![443], ..Outbound::default() });
    let error = untouched(fixture, &plan).await?;
    assert!(error.message().contains("permissions.network.outbound"), "{error}");
    Ok(())
}

async fn a_list_of_hosts_that_may_connect(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.inbound = Inbound { allow_host: vec!["a.example".to_owned()] };
    let error = untouched(fixture, &plan).await?;
    assert!(error.message().contains("permissions.network.inbound"), "{error}");
    Ok(())
}

async fn image_for_a_platform_that_this_host_cannot_run(fixture: &Fixture) -> Outcome {
    let runnable = runnable_platforms();
    let others = ["linux/s390x", "linux/mips64", "linux/loong64"].map(|text| text.parse::<Platform>().expect("known"));
    // With emulators for all of them there is nothing to refuse.
    let Some(other) = others.into_iter().find(|other| !runnable.contains(other)) else { return Ok(()) };
    let mut plan = fixture.server();
    plan.platform = Some(other.clone());
    let error = untouched(fixture, &plan).await?;
    for name in [other, Platform::own()] {
        assert!(error.message().contains(&format!("`{name}`")), "{error}");
    }
    Ok(())
}

async fn every_refusal_is_reported_at_once(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.outbound = Some(Outbound { allow_port: vec![443], ..Outbound::default() });
    plan.inbound = Inbound { allow_host: vec!["a.example".to_owned()] };
    let error = untouched(fixture, &plan).await?;
    assert!(error.message().contains("outbound") && error.message().contains("inbound"), "{error}");
    Ok(())
}

async fn an_open_profile_is_no_list(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.outbound = Some(Outbound { insecure_allow_all: true, ..Outbound::default() });
    fixture.create(&plan).await?;
    Ok(())
}
