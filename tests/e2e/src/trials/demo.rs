//! The demonstration does what it shows, again and again, and leaves nothing when it is told to.

use crate::scene::Scene;
use crate::trial::trials;

trials!("demo":
    a_website_is_shown_twice_and_cleaned_away Real,
    it_wants_a_runtime_that_is_there Every,
);

fn a_website_is_shown_twice_and_cleaned_away(scene: &mut Scene<'_>) {
    let runtime = scene.subject.name;
    for visitor in ["visitor 1.", "visitor 2."] {
        let shown = scene.hythe(&["demo", "--runtime", runtime]).ok();
        assert!(shown.out.contains(visitor) && shown.out.contains("hythe-demo-web"), "{shown:?}");
        shown.says(&["curl http://127.0.0.1:", "hythe demo --clean"]);
    }
    scene.hythe(&["demo", "--clean"]).ok().says(&["nothing of the demonstration is left"]);
    let (engine, label) = (scene.engine(), scene.agent.owner_label());
    let left = [engine.instances(&label), engine.networks(&label), engine.volumes(&label)].concat();
    assert!(left.is_empty(), "{left:?}");
    let images = scene.hythe(&["images"]).ok().out;
    assert!(!images.contains("hythe-demo"), "{images}");
    scene.hythe(&["demo", "--clean"]).ok();
}

fn it_wants_a_runtime_that_is_there(scene: &mut Scene<'_>) {
    scene.hythe(&["demo", "--runtime", "nowhere"]).ends_with(3).says(&["nowhere", scene.subject.name]);
}
