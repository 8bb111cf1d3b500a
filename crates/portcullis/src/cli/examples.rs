//! What people type, before the help of every command: a table, so that none is forgotten (`tests.rs` looks).

use clap::Command;

/// The examples of each command: what to type, and what it is for.
pub(super) const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        "",
        &[
            ("portcullis demo", "a whole server to try, with a sample shop"),
            ("portcullis serve portcullis.yaml", "the real thing"),
            ("portcullis check portcullis.yaml", "everything that is wrong with a file"),
            ("portcullis tools", "what can be called"),
            ("portcullis call get_customer customer_id=42", "call a tool"),
            ("portcullis keys create ci --principal ci-bot", "make a key; its secret is shown once"),
            ("portcullis pending", "changes that wait for approval"),
            ("portcullis approve chg_k3Jd0aPqVn2xW8b0", "approve one, after reading its diff"),
            ("portcullis audit verify", "check the audit log, link by link"),
            ("portcullis install claude-code", "what a client of MCP needs"),
        ],
    ),
    (
        "demo",
        &[
            ("portcullis demo", "a server in a folder of its own"),
            ("portcullis demo --data ./demo --listen 127.0.0.1:9000", "in this folder, at this address"),
            ("portcullis demo --json", "address and keys for a program"),
        ],
    ),
    (
        "serve",
        &[
            ("portcullis serve portcullis.yaml", "what the file says"),
            ("portcullis serve portcullis.yaml --listen 0.0.0.0:8000", "the same, for other machines too"),
            ("portcullis serve", "./portcullis.yaml, else the environment"),
            ("portcullis serve --mcp-json ~/.claude.json", "the tool servers of a client"),
        ],
    ),
    (
        "stdio",
        &[
            ("portcullis stdio --key-file ci.key", "for a client that starts its servers"),
            ("portcullis stdio --config gate.yaml", "the key is in PORTCULLIS_KEY"),
        ],
    ),
    (
        "install",
        &[
            ("portcullis install claude-code", "over HTTP, the key in a variable"),
            ("portcullis install cursor --url https://gate.example.com/mcp", "another server"),
            ("portcullis install claude-desktop --stdio", "over pipes"),
        ],
    ),
    (
        "devices",
        &[
            ("portcullis devices list", "what there is"),
            ("portcullis devices run r1 r2 -c 'show version'", "ask two of them"),
            ("portcullis devices trust r1", "before the first session on it"),
        ],
    ),
    (
        "devices list",
        &[
            ("portcullis devices list --label site=fra", "those of a site"),
            ("portcullis devices list --platform cisco_ios --json", "for a program"),
        ],
    ),
    (
        "devices run",
        &[
            ("portcullis devices run r1 -c 'show version' -c 'show ip route'", "two commands"),
            ("portcullis devices run --group core -c 'show ip bgp summary' --parse", "many, as tables"),
        ],
    ),
    (
        "devices detect",
        &[
            ("portcullis devices detect r1", "what it is"),
            ("portcullis devices detect --platform autodetect --write", "after an import that did not know"),
        ],
    ),
    (
        "devices trust",
        &[
            ("portcullis devices trust r1", "asks, after showing the key"),
            ("portcullis devices trust --group lab --yes", "all of a lab"),
        ],
    ),
    (
        "devices replay",
        &[("portcullis devices replay 01a21f18-7532-714d-9438-2f6e6f9560d7 --fast", "without its waits")],
    ),
    ("devices platforms", &[("portcullis devices platforms", "names for `platform` in the inventory")]),
    (
        "lab",
        &[
            ("portcullis lab", "four routers of four vendors"),
            ("portcullis lab --count 200 --vendor cisco_ios --latency 20", "load"),
            ("portcullis lab --fault 2=hangs --inventory lab.yaml", "one that hangs, and their inventory"),
        ],
    ),
    (
        "inventory",
        &[
            ("portcullis inventory import ~/.ssh/config", "what would change"),
            ("portcullis inventory import hosts.yml --write", "take Ansible's, or Nornir's"),
        ],
    ),
    (
        "inventory import",
        &[
            ("portcullis inventory import ~/.ssh/config --login keys", "what would change"),
            ("portcullis inventory import sites/ --prune --write", "as Ansible has it, and no others"),
            ("portcullis inventory import netbox.csv --group dc1 --write", "a table"),
        ],
    ),
    (
        "textfsm",
        &[("cat out | portcullis textfsm parse --platform linux --command arp --templates ntc", "records")],
    ),
    (
        "textfsm parse",
        &[("cat out | portcullis textfsm parse --platform linux --command arp --templates ntc", "records")],
    ),
    (
        "textfsm check",
        &[("portcullis textfsm check --cases cases.jsonl --templates ntc", "against what should come of it")],
    ),
    (
        "check",
        &[
            ("portcullis check portcullis.yaml", "everything that is wrong, with line and column"),
            ("portcullis check portcullis.yaml --json", "the same for a program"),
        ],
    ),
    (
        "tools",
        &[("portcullis tools", "names and what they do"), ("portcullis tools --json", "with their schemas")],
    ),
    (
        "call",
        &[
            ("portcullis call get_customer customer_id=42", ""),
            ("portcullis call sql_query 'sql=SELECT count(*) AS n FROM customers'", ""),
            ("portcullis call sql_query sql=@report.sql params:='[10]'", ""),
            ("echo '{\"path\": \"hello.txt\"}' | portcullis call fs_read_text --json-args -", ""),
        ],
    ),
    (
        "keys",
        &[
            ("portcullis keys create ci --principal ci-bot", "make a key; its secret is shown once"),
            ("portcullis keys list", "who has which"),
            ("portcullis keys revoke ci", "end one for good"),
        ],
    ),
    (
        "keys create",
        &[
            ("portcullis keys create ci --principal ci-bot", "with all roles of the principal"),
            ("portcullis keys create ci --principal ci-bot --expires-days 90", "not for ever"),
            ("portcullis keys create ci --principal ci-bot > ci.key", "the secret goes to the file"),
        ],
    ),
    ("keys list", &[("portcullis keys list", "a table"), ("portcullis keys list --json", "for a program")]),
    ("keys revoke", &[("portcullis keys revoke ci", "its callers get 401 from now on")]),
    (
        "keys rotate",
        &[
            ("portcullis keys rotate ci", "a new secret; the old one stays good for a while"),
            ("portcullis keys rotate ci --overlap-hours 24", "for a day"),
        ],
    ),
    ("keys disable", &[("portcullis keys disable ci", "off, until it is enabled again")]),
    ("keys enable", &[("portcullis keys enable ci", "on again")]),
    (
        "upstream",
        &[
            ("portcullis upstream list", "how each server is, and what is held back"),
            ("portcullis upstream approve docs", "take it, after reading what differs"),
        ],
    ),
    (
        "upstream list",
        &[
            ("portcullis upstream list", "a table, and what differs"),
            ("portcullis upstream list --json", "for a program"),
        ],
    ),
    (
        "upstream approve",
        &[
            ("portcullis upstream approve docs", "all of its tools that are held back"),
            ("portcullis upstream approve docs search --yes", "one, without a question"),
        ],
    ),
    (
        "upstream add",
        &[
            ("portcullis upstream add docs -- npx -y some-server", "a program"),
            ("portcullis upstream add tickets --oauth --url https://x.example.com/mcp", "it wants a login"),
            ("portcullis upstream add docs --print -- docs-server", "only the lines"),
        ],
    ),
    ("upstream restart", &[("portcullis upstream restart docs", "a program is started anew")]),
    ("upstream logs", &[("portcullis upstream logs docs", "its last 200 lines")]),
    (
        "upstream login",
        &[
            ("portcullis upstream login docs", "prints the page to open, and waits"),
            ("portcullis upstream login docs --paste", "where the browser is on another machine"),
        ],
    ),
    ("upstream logout", &[("portcullis upstream logout docs", "the next call asks for a login")]),
    (
        "probe",
        &[
            ("portcullis probe https://mcp.example.com/mcp", "what it offers"),
            ("portcullis probe --call all -- npx -y some-server", "a program, and all of its tools"),
            ("portcullis probe --json https://mcp.example.com/mcp", "for a program"),
        ],
    ),
    (
        "doctor",
        &[
            ("portcullis doctor", "a table"),
            ("portcullis doctor --json", "for a program; exit code 1 where something is bad"),
        ],
    ),
    (
        "audit",
        &[
            ("portcullis audit tail -n 3", "who did what just now"),
            ("portcullis audit verify", "whether the log is whole"),
        ],
    ),
    (
        "audit tail",
        &[
            ("portcullis audit tail -n 3", "the last three records"),
            ("portcullis audit tail --tool fs_write_text -n 100", "calls of one tool"),
            ("portcullis audit tail --principal ci-bot", "what one principal did"),
        ],
    ),
    (
        "audit verify",
        &[
            ("portcullis audit verify", "the log of the data folder"),
            ("portcullis audit verify --data backup", "that of a backup"),
        ],
    ),
    (
        "pending",
        &[
            ("portcullis pending", "what waits for a person"),
            ("portcullis pending --json", "with plans, for a program"),
        ],
    ),
    (
        "approve",
        &[
            ("portcullis approve chg_k3Jd0aPqVn2xW8b0", "show it, and ask"),
            ("portcullis approve chg_k3Jd0aPqVn2xW8b0 --yes --reason 'looks right'", "do not ask"),
        ],
    ),
    ("deny", &[("portcullis deny chg_k3Jd0aPqVn2xW8b0 --reason 'wrong file'", "refuse it, for the record")]),
    ("apply", &[("portcullis apply chg_k3Jd0aPqVn2xW8b0", "do what was approved, once")]),
    (
        "health",
        &[
            ("portcullis health", "the server on the data folder"),
            ("portcullis health --url http://127.0.0.1:8000", "another one, as in a container"),
            ("portcullis health --detailed", "every source"),
        ],
    ),
    (
        "config",
        &[
            ("portcullis config show --config portcullis.yaml", "how the file is taken"),
            ("portcullis config schema > portcullis.schema.json", "for an editor"),
        ],
    ),
    ("config schema", &[("portcullis config schema > portcullis.schema.json", "for an editor")]),
    (
        "config show",
        &[
            ("portcullis config show", "how ./portcullis.yaml is taken"),
            ("portcullis config show --config other.yaml --json", "another file, for a program"),
        ],
    ),
    (
        "completions",
        &[
            ("portcullis completions bash > /etc/bash_completion.d/portcullis", "for every user of bash"),
            ("portcullis completions zsh > ~/.zfunc/_portcullis", "for yours of zsh"),
        ],
    ),
];

/// The command line with its examples before the help of every command.
pub(super) fn with_examples(command: Command) -> Command {
    EXAMPLES.iter().fold(command, |command, (path, lines)| {
        let names: Vec<&str> = path.split_whitespace().collect();
        shown_at(command, &names, &shown(lines))
    })
}

fn shown_at(command: Command, path: &[&str], text: &str) -> Command {
    match path {
        [] => command.before_help(text.to_owned()),
        [first, rest @ ..] => command.mut_subcommand(first, |inner| shown_at(inner, rest, text)),
    }
}

/// The lines of one command, with what they are for in one column where that fits.
fn shown(lines: &[(&str, &str)]) -> String {
    let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or_default();
    let shown = lines.iter().map(|(line, about)| format!("\n  {line:width$}  {about}").trim_end().to_owned());
    let shown: String = shown.map(|line| format!("\n{}", line.trim_start_matches('\n'))).collect();
    format!("\x1b[1mExamples:\x1b[0m{shown}")
}
