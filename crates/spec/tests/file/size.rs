//! Files of any size are answered in time: what is large is refused with its limit, and many errors cost what they are many.

use std::time::{Duration, Instant};

use hythe_spec::{MAX_FILE, text_of};

use crate::support::{Memory, bad, memory, messages, one};

/// Long for a machine that does much else, short for work that grows faster than the file.
const LONG: Duration = Duration::from_secs(20);

#[track_caller]
fn in_time<T>(work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    done
}

#[test]
fn many_ports_are_refused_with_the_limit() {
    let all = "'1-65535:1-65535', ".repeat(30);
    let found = in_time(|| messages(&format!("ports = [{all}]"), &memory([])));
    assert_eq!(found, ["components[0].ports[0]: a component publishes at most 1024 ports"]);
    let many: String = (1..=20_000).map(|port| format!("'{port}:{port}', ")).collect();
    let found = in_time(|| messages(&format!("ports = [{many}]"), &memory([])));
    assert_eq!(found, ["components[0].ports[1024]: a component publishes at most 1024 ports"]);
    assert!(hythe_spec::parse("x", &one("ports = ['1-1024:1-1024']"), &memory([])).is_ok());
}

#[test]
fn many_errors_are_counted_and_the_first_are_shown() {
    for (separator, count) in [("\n", 20_000), (" ", 2_000)] {
        let many = format!("'x',{separator}").repeat(count);
        let error = in_time(|| bad(&one(&format!("ports = [{many}]")), &memory([])));
        assert_eq!(error.errors(), count);
        assert_eq!(error.to_string(), format!("`shop.toml` has {count} errors"));
        let text = in_time(|| error.render(false));
        assert_eq!(text.matches("error:").count(), 50);
        let end = format!("and {} more like these or others: only the first 50 are shown\n", count - 50);
        assert!(text.ends_with(&end), "{}", &text[text.len() - 200..]);
    }
    let many: String = (0..20_000).map(|at| format!("k{at} = 1\n")).collect();
    assert_eq!(in_time(|| bad(&one(&many), &memory([]))).errors(), 20_000);
    let many = "[[components]]\nname = 'x'\n".repeat(20_000);
    assert!(in_time(|| bad(&one(&many), &memory([]))).errors() > 0);
    let many: String = (0..20_000).map(|at| format!("'/a:/x{at}:bad', ")).collect();
    assert_eq!(in_time(|| bad(&one(&format!("volumes = [{many}]")), &memory([]))).errors(), 20_000);
}

#[test]
fn one_error_is_one() {
    assert_eq!(bad(&one("pids = 0"), &memory([])).to_string(), "`shop.toml` has 1 error");
}

#[test]
fn many_components_are_refused_with_the_limit() {
    let many: String = (0..5_000)
        .map(|at| format!("[[components]]\nname = 'c{at}'\nimage = 'x'\ndepends_on = ['c{}']\n", at + 1))
        .collect();
    let error = in_time(|| bad(&format!("name = 'shop'\n{many}"), &memory([])));
    assert!(error.diagnostics.iter().any(|one| one.message == "a service has at most 1000 components"), "{error:?}");
}

#[test]
fn environment_over_the_limit_of_the_kernel_is_refused_with_it() {
    let long: &'static str = format!("V={}", "x".repeat(140_000)).leak();
    let found = messages("env_file = 'a.env'", &memory([("/srv/shop/a.env", long)]));
    assert_eq!(found, ["components[0].env_file: the variable `V` has 140002 bytes; the kernel takes 131071"]);
    let fits: &'static str = format!("V={}", "x".repeat(131_000)).leak();
    assert!(hythe_spec::parse("x", &one("env_file = 'a.env'"), &memory([("/srv/shop/a.env", fits)])).is_ok());
    let lines = |count: usize| -> &'static str {
        (0..count).map(|at| format!("V{at}={}\n", "x".repeat(4000))).collect::<String>().leak()
    };
    let files: Memory = memory([("/srv/shop/a.env", lines(400)), ("/srv/shop/b.env", lines(3000))]);
    assert!(hythe_spec::parse("x", &one("env_file = 'a.env'"), &files).is_ok());
    let found = in_time(|| messages("env_file = 'b.env'", &files));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("12019890 bytes together; the kernel takes 2097152"), "{found:?}");
    let found = messages("env_file = 'b.env'\nulimits = { stack = -1 }", &files);
    assert!(found[0].contains("the kernel takes 6291456"), "{found:?}");
    let command = format!("command = ['a', '{}']", "x".repeat(140_000));
    assert!(messages(&command, &memory([]))[0].contains("an argument has 140000 bytes"));
}

#[test]
fn variables_made_of_variables_do_not_grow_without_end() {
    let mut text = "V0=xxxxxxxxxx\n".to_owned();
    (0..40).for_each(|at| text += &format!("V{}=$V{at}$V{at}\n", at + 1));
    let text: &'static str = text.leak();
    let found = in_time(|| messages("env_file = 'a.env'", &memory([("/srv/shop/a.env", text)])));
    assert!(found[0].contains("the value is longer than 131071 bytes"), "{found:?}");
}

#[test]
fn file_that_is_no_text_is_refused_at_its_place() {
    let Err(error) = text_of("x.toml", b"name = \"a\"\nimage = \"caf\xe9\"\n".to_vec()) else { panic!("accepted") };
    let [one] = error.diagnostics.as_slice() else { panic!("{error:?}") };
    assert_eq!((one.position.line, one.position.column), (2, 13));
    assert_eq!(one.message, "the byte 0xe9 is not UTF-8");
    assert_eq!(one.hint.as_deref(), Some("save the file as UTF-8"));
    insta::assert_snapshot!("not_utf8", error.render(false));
    let message = |bytes: &[u8]| match text_of("x", bytes.to_vec()) {
        Ok(text) => panic!("accepted: {text:?}"),
        Err(mut error) => error.diagnostics.remove(0).message,
    };
    assert_eq!(message(b"\xff\xfen\0"), "the file is UTF-16; a service file is UTF-8");
    assert_eq!(message(b"\x7fELF\0\xff"), "the file is binary; a service file is text");
    assert_eq!(message(&vec![b'a'; MAX_FILE + 1]), "the file is larger than 1MiB, the most that is read");
    assert_eq!(text_of("x", b"a = 1".to_vec()).ok().as_deref(), Some("a = 1"));
}
