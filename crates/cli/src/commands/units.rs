//! `hythe units`: the systemd units of the agent.
//!
//! ```text
//! hythe.socket             answers before the agent runs, and while it restarts
//! hythe.service            the agent; its workloads outlive it
//! hythe-workloads.service  stops workloads before the host stops, and starts them after
//! ```
//! The guide shows the same text; a test compares them.

use std::fs;
use std::path::Path;

use crate::args;
use crate::output::Printer;
use crate::report::Outcome;

const SOCKET: &str = include_str!("units/hythe.socket");
const AGENT: &str = include_str!("units/hythe.service");
const WORKLOADS: &str = include_str!("units/hythe-workloads.service");
/// The program in these texts.
const PROGRAM: &str = "/usr/local/bin/hythe";
/// What is different for the service manager of a user. The subgroup leaves the unit's own cgroup without processes, so that
/// it can have controllers for those of containers.
const OF_USER: [(&str, &str); 6] = [
    ("ListenStream=/run/hythe/agent.sock", "ListenStream=%t/hythe/agent.sock"),
    ("# For a group, which equals root: SocketMode=0660, SocketGroup=hythe, DirectoryMode=0755\n", ""),
    ("Wants=network-online.target\n", ""),
    (" network-online.target docker.service containerd.service podman.socket", ""),
    ("KillMode=process\n", "KillMode=process\nDelegate=yes\nDelegateSubgroup=agent\n"),
    ("WantedBy=multi-user.target", "WantedBy=default.target"),
];

pub(super) fn run(args: &args::Units, printer: Printer<'_>) -> Outcome {
    let program = std::env::current_exe()?;
    let Some(directory) = &args.directory else {
        let texts = units(args.user, &program).map(|(name, text)| format!("# {name}\n{text}"));
        return printer.data(texts.join("\n"));
    };
    fs::create_dir_all(directory)?;
    for (name, text) in units(args.user, &program) {
        fs::write(directory.join(name), text)?;
    }
    let (manager, linger) = if args.user { (" --user", "; loginctl enable-linger") } else { ("", "") };
    printer.talk(format_args!(
        "now: systemctl{manager} daemon-reload; systemctl{manager} enable --now hythe.socket hythe.service hythe-workloads.service{linger}"
    ));
    Ok(())
}

/// Names and texts.
fn units(user: bool, program: &Path) -> [(&'static str, String); 3] {
    let replaced = |text: &str| {
        let of_user = OF_USER.iter().filter(|_| user);
        let text = of_user.fold(text.to_owned(), |text, (of_host, of_user)| text.replace(of_host, of_user));
        text.replace(PROGRAM, &program.display().to_string())
    };
    [("hythe.socket", SOCKET), ("hythe.service", AGENT), ("hythe-workloads.service", WORKLOADS)]
        .map(|(name, text)| (name, replaced(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guide_has_the_units() {
        let guide = include_str!("../../../../docs/guides/agent.md");
        for (name, text) in units(false, Path::new(PROGRAM)) {
            let block = format!("```ini\n# /etc/systemd/system/{name}\n{text}```\n");
            assert!(guide.contains(&block), "docs/guides/agent.md has another text of {name}");
        }
    }

    #[test]
    fn units_of_user_have_what_differs() {
        let [host, user] = [false, true].map(|user| units(user, Path::new("/opt/hythe")));
        for ((_, host), (name, user)) in host.iter().zip(&user) {
            assert!(host.contains("/opt/hythe") != name.ends_with(".socket") && !user.contains(PROGRAM), "{name}");
        }
        for (of_host, of_user) in OF_USER {
            assert!(host.iter().any(|(_, text)| text.contains(of_host)), "{of_host}");
            let has_user = user.iter().any(|(_, text)| text.contains(of_user));
            assert!(has_user, "{of_user}");
            assert!(!host.iter().any(|(_, text)| !of_user.is_empty() && text.contains(of_user)), "{of_user}");
        }
    }
}
