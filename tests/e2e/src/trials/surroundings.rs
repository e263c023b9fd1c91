//! What a workload finds around it: variables, mounts at odd paths, ports, groups, peers, volumes of others.

use std::net::TcpListener;

use crate::files::{one, several, stays};
use crate::fixture::Fixture;
use crate::http;
use crate::trial::trials;
use crate::wait;

trials!("surroundings":
    variables_of_a_file_are_whole_and_no_drift Real,
    variable_beyond_the_limit_of_the_kernel_is_refused Real,
    odd_paths_are_mounted_as_they_are_written Real,
    port_that_is_taken_fails_and_is_had_once_it_is_free Real,
    ports_are_on_the_loopback_addresses_that_were_asked_for Real,
    groups_of_the_user_are_those_of_the_image Real,
    peers_are_one_line_for_each_name_after_a_replacement Real,
    volume_in_use_by_another_service_stays Real,
);

fn variables_of_a_file_are_whole_and_no_drift(fixture: &mut Fixture<'_>) {
    let text = "# comment\nK0=red#blue\nK1=\"two # words\"\nK2='in \"double\" #no'\nK4=a=b=c\nexport K5=exported\n\
        ML=\"first\nsecond\"\nUNI=grüße ✓\nDOLLAR='$HOME and $$'\nEMPTY=\nCR=val\r\n";
    std::fs::write(fixture.agent.path("odd.env"), text).unwrap();
    let keys = "env_file = ['odd.env']\nenv = { T = \"line1\\nline2 $HOME ${X} ✓\" }";
    fixture.deploy(&one(&fixture.service, &stays("up"), keys)).ok();
    let shown = fixture.hythe(&["exec", &fixture.service, "env"]).ok().out;
    for line in [
        "K0=red#blue\n",
        "K1=two # words\n",
        "K2=in \"double\" #no\n",
        "K4=a=b=c\n",
        "K5=exported\n",
        "ML=first\nsecond\n",
        "UNI=grüße ✓\n",
        "DOLLAR=$HOME and $$\n",
        "EMPTY=\n",
        "CR=val\n",
        "T=line1\nline2 $HOME ${X} ✓\n",
    ] {
        assert!(shown.contains(line), "{line:?} is not in:\n{shown}");
    }
    assert!(fixture.differences().is_empty(), "{:#?}", fixture.differences());
}

fn variable_beyond_the_limit_of_the_kernel_is_refused(fixture: &mut Fixture<'_>) {
    let write =
        |bytes: usize| std::fs::write(fixture.agent.path("big.env"), format!("V={}\n", "v".repeat(bytes))).unwrap();
    let service = one(&fixture.service, &format!("env | wc -c; {}", stays("up")), "env_file = 'big.env'");
    write(131_000);
    fixture.deploy(&service).ok();
    assert_eq!(fixture.hythe(&["exec", &fixture.service, "sh", "-c", "echo ${#V}"]).ok().out, "131000\n");
    let ids = fixture.ids();
    write(140_000);
    fixture.deploy(&service).ends_with(2).says(&["`V`", "131071"]);
    assert_eq!(fixture.ids(), ids, "what runs was touched");
}

fn odd_paths_are_mounted_as_they_are_written(fixture: &mut Fixture<'_>) {
    let odd = ["a:b", "with space", "com,ma=x", "ü✓", "q\"uo'te\\b"];
    let mut text = one(&fixture.service, &stays("up"), "");
    for (number, name) in odd.iter().enumerate() {
        let directory = fixture.agent.path("odd").join(name);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("f"), name).unwrap();
        let (source, target) = (format!("{}", directory.display()), format!("/{number}:{name}"));
        let quoted = |path: &str| serde_json::to_string(path).unwrap();
        text.push_str(&format!(
            "\n[[components.volumes]]\ntype = 'bind'\nsource = {}\ntarget = {}\n",
            quoted(&source),
            quoted(&target)
        ));
    }
    fixture.deploy(&text).ok();
    for (number, name) in odd.iter().enumerate() {
        let place = format!("/{number}:{name}/f");
        assert_eq!(fixture.hythe(&["exec", &fixture.service, "cat", &place]).ok().out, *name);
    }
    assert!(fixture.differences().is_empty(), "{:#?}", fixture.differences());
}

fn page(text: &str) -> String {
    format!("mkdir -p /www; echo {text} >/www/index.html; trap exit TERM; httpd -f -p 80 -h /www & wait")
}

fn port_that_is_taken_fails_and_is_had_once_it_is_free(fixture: &mut Fixture<'_>) {
    let port = http::free_port();
    let holder = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let service = one(&fixture.service, &page("mine"), &format!("ports = ['127.0.0.1:{port}:80']"));
    fixture.deploy(&service).ends_with(1).says(&["error:", &port.to_string()]);
    drop(holder);
    fixture.deploy(&service).ok();
    let answer = || http::get(&format!("127.0.0.1:{port}"), "/");
    wait::until("the page is served", answer, |page| page.contains("mine"));
}

fn ports_are_on_the_loopback_addresses_that_were_asked_for(fixture: &mut Fixture<'_>) {
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let (both, six, four) = (http::free_port(), http::free_port(), http::free_port());
    let keys = format!("ports = ['{both}:80', '[::1]:{six}:80', '127.0.0.1:{four}:80']");
    let service = one(&fixture.service, &page("hi"), &keys);
    if fixture.subject.name == "podman" {
        // It forwards by NAT, which does not reach an instance from an IPv6 address of the host.
        fixture.deploy(&service).ends_with(2).says(&["`ports[2]`", "IPv6"]);
        return;
    }
    fixture.deploy(&service).ok();
    let serves = |host: &str, port: u16| http::get(&format!("{host}:{port}"), "/").contains("hi");
    wait::until("the page is served", || serves("127.0.0.1", both), |served| *served);
    assert!(serves("127.0.0.1", four) && !serves("[::1]", four));
    assert!(serves("[::1]", six) && !serves("127.0.0.1", six));
    assert!(serves("[::1]", both));
}

fn groups_of_the_user_are_those_of_the_image(fixture: &mut Fixture<'_>) {
    let ids = |user: &str| {
        let script = format!("id -u; id -g; {}", stays("up"));
        fixture.deploy(&one(&fixture.service, &script, &format!("user = '{user}'"))).ok();
        let logs = || fixture.hythe(&["logs", &fixture.service]).ok().out;
        wait::until("it runs", logs, |text| text.ends_with("up\n"))
    };
    assert_eq!(ids("4242"), "4242\n0\nup\n");
    assert_eq!(ids("4242:33"), "4242\n33\nup\n");
}

fn peers_are_one_line_for_each_name_after_a_replacement(fixture: &mut Fixture<'_>) {
    let text = |says: &str| {
        let quiet = stays("up");
        let db = page(says);
        let parts: [(&str, &str, &str); 3] =
            [("db", &db, ""), ("db-other", &quiet, ""), ("app", &quiet, "depends_on = ['db']")];
        several(&fixture.service, &parts)
    };
    let app = format!("{}-app", fixture.service);
    let fetch = || fixture.hythe(&["exec", &app, "wget", "-q", "-O", "-", "http://db/"]).out;
    fixture.deploy(&text("first")).ok();
    wait::until("the first answers", fetch, |page| page == "first\n");
    fixture.hythe(&["restart", &format!("{}/db", fixture.service)]).ok();
    wait::until("it answers after a restart", fetch, |page| page == "first\n");
    fixture.deploy(&text("second")).ok();
    wait::until("the second answers", fetch, |page| page == "second\n");
    let hosts = fixture.hythe(&["exec", &app, "cat", "/etc/hosts"]).ok().out;
    let of_db: Vec<&str> = hosts
        .lines()
        .filter(|line| line.contains('.') && line.split_whitespace().skip(1).any(|name| name == "db"))
        .collect();
    assert!(of_db.len() <= 1, "{hosts}");
}

fn volume_in_use_by_another_service_stays(fixture: &mut Fixture<'_>) {
    let (owner, user) = (fixture.service.clone(), format!("{}u", fixture.service));
    let script = format!("echo keep >/data/k; {}", stays("up"));
    fixture.deploy(&one(&owner, &script, "volumes = ['d:/data']")).ok();
    let mut other = one(&user, &stays("up"), "");
    other.push_str(&format!("\n[[components.volumes]]\nsource = '{owner}_d'\ntarget = '/d'\nexternal = true\n"));
    fixture.deploy(&other).ok();
    let read = |who: &str, path: &str| fixture.hythe(&["exec", who, "cat", path]).ok().out;
    assert_eq!(read(&user, "/d/k"), "keep\n");
    fixture.hythe(&["undeploy", &user, "--volumes"]).ok();
    assert_eq!(read(&owner, "/data/k"), "keep\n", "an external volume went");
    let missing = other.replace(&format!("{owner}_d"), &format!("{owner}_none"));
    fixture.deploy(&missing).ends_with(1).says(&[&format!("{owner}_none")]);
    fixture.hythe(&["undeploy", &user]).ok();

    fixture.deploy(&other).ok();
    fixture.hythe(&["undeploy", &owner, "--volumes"]).ends_with(1).says(&[&format!("{owner}_d"), &user]);
    assert_eq!(read(&user, "/d/k"), "keep\n", "it was taken from under the other");
    fixture.hythe(&["undeploy", &user]).ok();
}
