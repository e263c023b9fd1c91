//! What cannot be honoured is refused before anything is touched.

use hythe_runtime::{Error, ErrorKind, Feature, Plan};
use hythe_spec::{Inbound, Outbound};

use crate::failure::{Outcome, refused};
use crate::need::Need::Cannot;
use crate::scene::Scene;
use crate::trial::trials;

trials! { "refusal":
    a_list_of_hosts_to_reach [Cannot(Feature::EgressAllowList)],
    a_list_of_ports_to_reach [Cannot(Feature::EgressAllowList)],
    a_list_of_hosts_that_may_connect [Cannot(Feature::IngressAllowList)],
    every_refusal_is_told_at_once [Cannot(Feature::EgressAllowList), Cannot(Feature::IngressAllowList)],
    an_open_profile_is_no_list [],
}

/// The error, once it is sure that nothing was made.
async fn untouched(scene: &Scene, plan: &Plan) -> Outcome<Error> {
    let error = refused(scene.runtime().create(&scene.cx, plan).await, ErrorKind::Unsupported);
    refused(scene.runtime().run(&scene.cx, plan).await, ErrorKind::Unsupported);
    assert!(scene.names().await?.is_empty());
    assert!(error.message().contains(&scene.runtime().info().name), "{error}");
    Ok(error)
}

async fn a_list_of_hosts_to_reach(scene: &Scene) -> Outcome {
    let mut plan = scene.server();
    plan.outbound = Some(Outbound { allow_host: vec!["a.example".to_owned()], ..Outbound::default() });
    let error = untouched(scene, &plan).await?;
    assert!(error.message().contains("permissions.network.outbound"), "{error}");
    Ok(())
}

async fn a_list_of_ports_to_reach(scene: &Scene) -> Outcome {
    let mut plan = scene.server();
    plan.outbound = Some(Outbound { allow_port: vec![443], ..Outbound::default() });
    let error = untouched(scene, &plan).await?;
    assert!(error.message().contains("permissions.network.outbound"), "{error}");
    Ok(())
}

async fn a_list_of_hosts_that_may_connect(scene: &Scene) -> Outcome {
    let mut plan = scene.server();
    plan.inbound = Inbound { allow_host: vec!["a.example".to_owned()] };
    let error = untouched(scene, &plan).await?;
    assert!(error.message().contains("permissions.network.inbound"), "{error}");
    Ok(())
}

async fn every_refusal_is_told_at_once(scene: &Scene) -> Outcome {
    let mut plan = scene.server();
    plan.outbound = Some(Outbound { allow_port: vec![443], ..Outbound::default() });
    plan.inbound = Inbound { allow_host: vec!["a.example".to_owned()] };
    let error = untouched(scene, &plan).await?;
    assert!(error.message().contains("outbound") && error.message().contains("inbound"), "{error}");
    Ok(())
}

async fn an_open_profile_is_no_list(scene: &Scene) -> Outcome {
    let mut plan = scene.server();
    plan.outbound = Some(Outbound { insecure_allow_all: true, ..Outbound::default() });
    scene.create(&plan).await?;
    Ok(())
}
