use expect_test::{Expect, expect};

use super::{
    ClientName, Key, Way, about,
    clients::{PLACEHOLDER, snippet},
    key_text, mcp_url, server_name, variable_name,
};

const ALL: [ClientName; 7] = [
    ClientName::ClaudeCode,
    ClientName::ClaudeDesktop,
    ClientName::Cursor,
    ClientName::VsCode,
    ClientName::Codex,
    ClientName::Gemini,
    ClientName::Json,
];

fn http() -> Way {
    Way::Http { url: "http://127.0.0.1:8000/mcp".to_owned() }
}

fn stdio() -> Way {
    let args = ["stdio", "--config", "/etc/portcullis/portcullis.yaml"].map(str::to_owned).to_vec();
    Way::Stdio { program: "/usr/bin/portcullis".to_owned(), args }
}

#[allow(clippy::needless_pass_by_value)]
fn check(client: ClientName, way: Way, key: Key, expected: Expect) {
    let snippet = snippet(client, "portcullis", &way, &key);
    expected.assert_eq(&format!("{}---\n{}\n", about(&snippet), snippet.text));
}

#[test]
fn claude_code() {
    check(
        ClientName::ClaudeCode,
        http(),
        Key::Unsaid,
        expect![[r#"
            Claude Code reads these; add the lines below to what is there
              ~/.claude.json  all your projects
              .mcp.json       one project, shared with whoever has it
            or run
              claude mcp add --scope user --transport http portcullis http://127.0.0.1:8000/mcp --header 'Authorization: Bearer ${PORTCULLIS_KEY}'
            the key comes from PORTCULLIS_KEY: set it where the client starts
            start Claude Code anew; `/mcp` shows the server
            ---
            {
              "mcpServers": {
                "portcullis": {
                  "type": "http",
                  "url": "http://127.0.0.1:8000/mcp",
                  "headers": {
                    "Authorization": "Bearer ${PORTCULLIS_KEY}"
                  }
                }
              }
            }
        "#]],
    );
    check(
        ClientName::ClaudeCode,
        stdio(),
        Key::Variable("GATE".to_owned()),
        expect![[r#"
            Claude Code reads these; add the lines below to what is there
              ~/.claude.json  all your projects
              .mcp.json       one project, shared with whoever has it
            or run
              claude mcp add --scope user --transport stdio portcullis --env 'PORTCULLIS_KEY=${GATE}' -- /usr/bin/portcullis stdio --config /etc/portcullis/portcullis.yaml
            the key comes from GATE: set it where the client starts
            start Claude Code anew; `/mcp` shows the server
            ---
            {
              "mcpServers": {
                "portcullis": {
                  "type": "stdio",
                  "command": "/usr/bin/portcullis",
                  "args": [
                    "stdio",
                    "--config",
                    "/etc/portcullis/portcullis.yaml"
                  ],
                  "env": {
                    "PORTCULLIS_KEY": "${GATE}"
                  }
                }
              }
            }
        "#]],
    );
}

#[test]
fn claude_desktop() {
    check(
        ClientName::ClaudeDesktop,
        http(),
        Key::Unsaid,
        expect![[r#"
            Claude Desktop reads these; add the lines below to what is there
              ~/Library/Application Support/Claude/claude_desktop_config.json  macOS
              %APPDATA%\Claude\claude_desktop_config.json                      Windows
              ~/.config/Claude/claude_desktop_config.json                      Linux
            put your key in place of <your key>; `portcullis keys create` makes one
            Claude Desktop starts local programs only, and its connectors take no key: the bridge mcp-remote (npm) carries it; --stdio needs no bridge
            quit Claude Desktop and start it again; Settings, Developer shows the server
            ---
            {
              "mcpServers": {
                "portcullis": {
                  "command": "npx",
                  "args": [
                    "-y",
                    "mcp-remote",
                    "http://127.0.0.1:8000/mcp",
                    "--header",
                    "Authorization:${AUTH_HEADER}"
                  ],
                  "env": {
                    "AUTH_HEADER": "Bearer <your key>"
                  }
                }
              }
            }
        "#]],
    );
    check(
        ClientName::ClaudeDesktop,
        stdio(),
        Key::Unsaid,
        expect![[r#"
            Claude Desktop reads these; add the lines below to what is there
              ~/Library/Application Support/Claude/claude_desktop_config.json  macOS
              %APPDATA%\Claude\claude_desktop_config.json                      Windows
              ~/.config/Claude/claude_desktop_config.json                      Linux
            put your key in place of <your key>; `portcullis keys create` makes one
            quit Claude Desktop and start it again; Settings, Developer shows the server
            ---
            {
              "mcpServers": {
                "portcullis": {
                  "command": "/usr/bin/portcullis",
                  "args": [
                    "stdio",
                    "--config",
                    "/etc/portcullis/portcullis.yaml"
                  ],
                  "env": {
                    "PORTCULLIS_KEY": "<your key>"
                  }
                }
              }
            }
        "#]],
    );
    let far = Way::Http { url: "http://gate.example.com/mcp".to_owned() };
    check(
        ClientName::ClaudeDesktop,
        far,
        Key::Clear("sk_x".to_owned()),
        expect![[r#"
            Claude Desktop reads these; add the lines below to what is there
              ~/Library/Application Support/Claude/claude_desktop_config.json  macOS
              %APPDATA%\Claude\claude_desktop_config.json                      Windows
              ~/.config/Claude/claude_desktop_config.json                      Linux
            the key stands in it in clear: keep the file to yourself
            Claude Desktop starts local programs only, and its connectors take no key: the bridge mcp-remote (npm) carries it; --stdio needs no bridge
            quit Claude Desktop and start it again; Settings, Developer shows the server
            ---
            {
              "mcpServers": {
                "portcullis": {
                  "command": "npx",
                  "args": [
                    "-y",
                    "mcp-remote",
                    "http://gate.example.com/mcp",
                    "--header",
                    "Authorization:${AUTH_HEADER}",
                    "--allow-http"
                  ],
                  "env": {
                    "AUTH_HEADER": "Bearer sk_x"
                  }
                }
              }
            }
        "#]],
    );
}

#[test]
fn cursor() {
    check(
        ClientName::Cursor,
        http(),
        Key::Variable("GATE".to_owned()),
        expect![[r#"
            Cursor reads these; add the lines below to what is there
              ~/.cursor/mcp.json  all your projects
              .cursor/mcp.json    one project
            the key comes from GATE: set it where the client starts
            start Cursor anew; its settings for MCP show the server
            ---
            {
              "mcpServers": {
                "portcullis": {
                  "url": "http://127.0.0.1:8000/mcp",
                  "headers": {
                    "Authorization": "Bearer ${env:GATE}"
                  }
                }
              }
            }
        "#]],
    );
    check(
        ClientName::Cursor,
        stdio(),
        Key::Unsaid,
        expect![[r#"
            Cursor reads these; add the lines below to what is there
              ~/.cursor/mcp.json  all your projects
              .cursor/mcp.json    one project
            the key comes from PORTCULLIS_KEY: set it where the client starts
            start Cursor anew; its settings for MCP show the server
            ---
            {
              "mcpServers": {
                "portcullis": {
                  "type": "stdio",
                  "command": "/usr/bin/portcullis",
                  "args": [
                    "stdio",
                    "--config",
                    "/etc/portcullis/portcullis.yaml"
                  ],
                  "env": {
                    "PORTCULLIS_KEY": "${env:PORTCULLIS_KEY}"
                  }
                }
              }
            }
        "#]],
    );
}

#[test]
fn vscode() {
    check(
        ClientName::VsCode,
        http(),
        Key::Unsaid,
        expect![[r#"
            Visual Studio Code reads these; add the lines below to what is there
              .vscode/mcp.json          one workspace
              mcp.json of your profile  all of them; the command `MCP: Open User Configuration` opens it
            Visual Studio Code asks for the key once, and keeps it
            the command `MCP: List Servers` shows the server and starts it
            ---
            {
              "inputs": [
                {
                  "type": "promptString",
                  "id": "portcullis-key",
                  "description": "Portcullis key",
                  "password": true
                }
              ],
              "servers": {
                "portcullis": {
                  "type": "http",
                  "url": "http://127.0.0.1:8000/mcp",
                  "headers": {
                    "Authorization": "Bearer ${input:portcullis-key}"
                  }
                }
              }
            }
        "#]],
    );
    check(
        ClientName::VsCode,
        stdio(),
        Key::Variable("GATE".to_owned()),
        expect![[r#"
        Visual Studio Code reads these; add the lines below to what is there
          .vscode/mcp.json          one workspace
          mcp.json of your profile  all of them; the command `MCP: Open User Configuration` opens it
        Visual Studio Code asks for the key once, and keeps it
        Visual Studio Code does not read GATE here, so it has no part in this
        the command `MCP: List Servers` shows the server and starts it
        ---
        {
          "inputs": [
            {
              "type": "promptString",
              "id": "portcullis-key",
              "description": "Portcullis key",
              "password": true
            }
          ],
          "servers": {
            "portcullis": {
              "type": "stdio",
              "command": "/usr/bin/portcullis",
              "args": [
                "stdio",
                "--config",
                "/etc/portcullis/portcullis.yaml"
              ],
              "env": {
                "PORTCULLIS_KEY": "${input:portcullis-key}"
              }
            }
          }
        }
    "#]],
    );
    check(
        ClientName::VsCode,
        stdio(),
        Key::Clear("sk_x".to_owned()),
        expect![[r#"
            Visual Studio Code reads these; add the lines below to what is there
              .vscode/mcp.json          one workspace
              mcp.json of your profile  all of them; the command `MCP: Open User Configuration` opens it
            the key stands in it in clear: keep the file to yourself
            the command `MCP: List Servers` shows the server and starts it
            ---
            {
              "servers": {
                "portcullis": {
                  "type": "stdio",
                  "command": "/usr/bin/portcullis",
                  "args": [
                    "stdio",
                    "--config",
                    "/etc/portcullis/portcullis.yaml"
                  ],
                  "env": {
                    "PORTCULLIS_KEY": "sk_x"
                  }
                }
              }
            }
        "#]],
    );
}

#[test]
fn codex() {
    check(
        ClientName::Codex,
        http(),
        Key::Unsaid,
        expect![[r#"
            Codex reads these; add the lines below to what is there
              ~/.codex/config.toml  all your projects
              .codex/config.toml    one project that is trusted
            the key comes from PORTCULLIS_KEY: set it where the client starts
            start Codex anew; `/mcp` shows the server
            ---
            [mcp_servers.portcullis]
            url = "http://127.0.0.1:8000/mcp"
            bearer_token_env_var = "PORTCULLIS_KEY"
        "#]],
    );
    check(
        ClientName::Codex,
        http(),
        Key::Clear("sk_\"x\\".to_owned()),
        expect![[r#"
            Codex reads these; add the lines below to what is there
              ~/.codex/config.toml  all your projects
              .codex/config.toml    one project that is trusted
            the key stands in it in clear: keep the file to yourself
            start Codex anew; `/mcp` shows the server
            ---
            [mcp_servers.portcullis]
            url = "http://127.0.0.1:8000/mcp"
            http_headers = { Authorization = "Bearer sk_\"x\\" }
        "#]],
    );
    check(
        ClientName::Codex,
        stdio(),
        Key::Variable("GATE".to_owned()),
        expect![[r#"
            Codex reads these; add the lines below to what is there
              ~/.codex/config.toml  all your projects
              .codex/config.toml    one project that is trusted
            Codex hands variables on under their own names: set PORTCULLIS_KEY where it starts
            start Codex anew; `/mcp` shows the server
            ---
            [mcp_servers.portcullis]
            command = "/usr/bin/portcullis"
            args = ["stdio", "--config", "/etc/portcullis/portcullis.yaml"]
            env_vars = ["PORTCULLIS_KEY"]
        "#]],
    );
    check(
        ClientName::Codex,
        stdio(),
        Key::Clear("sk_x".to_owned()),
        expect![[r#"
            Codex reads these; add the lines below to what is there
              ~/.codex/config.toml  all your projects
              .codex/config.toml    one project that is trusted
            the key stands in it in clear: keep the file to yourself
            start Codex anew; `/mcp` shows the server
            ---
            [mcp_servers.portcullis]
            command = "/usr/bin/portcullis"
            args = ["stdio", "--config", "/etc/portcullis/portcullis.yaml"]
            env = { PORTCULLIS_KEY = "sk_x" }
        "#]],
    );
}

#[test]
fn gemini() {
    check(
        ClientName::Gemini,
        http(),
        Key::Unsaid,
        expect![[r#"
            Gemini CLI reads these; add the lines below to what is there
              ~/.gemini/settings.json  all your projects
              .gemini/settings.json    one project
            the key comes from PORTCULLIS_KEY: set it where the client starts
            start Gemini CLI anew; `/mcp` shows the server
            ---
            {
              "mcpServers": {
                "portcullis": {
                  "httpUrl": "http://127.0.0.1:8000/mcp",
                  "headers": {
                    "Authorization": "Bearer ${PORTCULLIS_KEY}"
                  }
                }
              }
            }
        "#]],
    );
    check(
        ClientName::Gemini,
        stdio(),
        Key::Unsaid,
        expect![[r#"
            Gemini CLI reads these; add the lines below to what is there
              ~/.gemini/settings.json  all your projects
              .gemini/settings.json    one project
            the key comes from PORTCULLIS_KEY: set it where the client starts
            start Gemini CLI anew; `/mcp` shows the server
            ---
            {
              "mcpServers": {
                "portcullis": {
                  "command": "/usr/bin/portcullis",
                  "args": [
                    "stdio",
                    "--config",
                    "/etc/portcullis/portcullis.yaml"
                  ],
                  "env": {
                    "PORTCULLIS_KEY": "${PORTCULLIS_KEY}"
                  }
                }
              }
            }
        "#]],
    );
}

#[test]
fn any_other() {
    check(
        ClientName::Json,
        http(),
        Key::Unsaid,
        expect![[r#"
            An MCP client reads this; add the lines below to what is there
              the file that holds `mcpServers`  as the client's documentation says
            put your key in place of <your key>; `portcullis keys create` makes one
            start the client anew
            ---
            {
              "mcpServers": {
                "portcullis": {
                  "type": "http",
                  "url": "http://127.0.0.1:8000/mcp",
                  "headers": {
                    "Authorization": "Bearer <your key>"
                  }
                }
              }
            }
        "#]],
    );
    check(
        ClientName::Json,
        http(),
        Key::Variable("GATE".to_owned()),
        expect![[r#"
            An MCP client reads this; add the lines below to what is there
              the file that holds `mcpServers`  as the client's documentation says
            the key comes from GATE: set it where the client starts
            start the client anew
            ---
            {
              "mcpServers": {
                "portcullis": {
                  "type": "http",
                  "url": "http://127.0.0.1:8000/mcp",
                  "headers": {
                    "Authorization": "Bearer ${GATE}"
                  }
                }
              }
            }
        "#]],
    );
    check(
        ClientName::Json,
        stdio(),
        Key::Unsaid,
        expect![[r#"
            An MCP client reads this; add the lines below to what is there
              the file that holds `mcpServers`  as the client's documentation says
            put your key in place of <your key>; `portcullis keys create` makes one
            start the client anew
            ---
            {
              "mcpServers": {
                "portcullis": {
                  "command": "/usr/bin/portcullis",
                  "args": [
                    "stdio",
                    "--config",
                    "/etc/portcullis/portcullis.yaml"
                  ],
                  "env": {
                    "PORTCULLIS_KEY": "<your key>"
                  }
                }
              }
            }
        "#]],
    );
}

#[test]
fn a_key_is_shown_only_where_it_was_given() {
    for client in ALL {
        for way in [http(), stdio()] {
            let shown = |key: Key| {
                let snippet = snippet(client, "portcullis", &way, &key);
                format!("{}{}{}", about(&snippet), snippet.text, snippet.document)
            };
            assert!(shown(Key::Clear("sk_secret".to_owned())).contains("sk_secret"), "{client:?}");
            let clear = shown(Key::Clear("sk_secret".to_owned()));
            assert!(!clear.contains(PLACEHOLDER) && clear.contains("in clear"), "{client:?}");
            assert!(!shown(Key::Unsaid).contains("in clear"), "{client:?}");
        }
    }
}

#[test]
fn what_stands_in_quotes_is_taken_as_it_is() {
    let args = ["stdio", "--config", "/srv/O'Brien & co/gate.yaml"].map(str::to_owned).to_vec();
    let way = Way::Stdio { program: "/opt/my gate/portcullis".to_owned(), args };
    let command = snippet(ClientName::ClaudeCode, "gate", &way, &Key::Unsaid).command;
    expect![[r#"claude mcp add --scope user --transport stdio gate --env 'PORTCULLIS_KEY=${PORTCULLIS_KEY}' -- '/opt/my gate/portcullis' stdio --config '/srv/O'\''Brien & co/gate.yaml'"#]].assert_eq(&command.unwrap_or_default());
    expect![[r#"
        [mcp_servers.gate]
        command = "/opt/my gate/portcullis"
        args = ["stdio", "--config", "/srv/O'Brien & co/gate.yaml"]
        env_vars = ["PORTCULLIS_KEY"]"#]]
    .assert_eq(&snippet(ClientName::Codex, "gate", &way, &Key::Unsaid).text);
}

#[test]
fn what_is_given_is_looked_at() {
    let check = |got: Result<String, String>, want: Result<&str, &str>| {
        assert_eq!(got.as_deref().map_err(String::as_str), want);
    };
    let url = "write http:// or https://, a host, and perhaps a port and a path";
    check(mcp_url("https://gate.example.com"), Ok("https://gate.example.com/mcp"));
    check(mcp_url("https://gate.example.com/"), Ok("https://gate.example.com/mcp"));
    check(mcp_url("http://[::1]:8000/a/mcp"), Ok("http://[::1]:8000/a/mcp"));
    for wrong in ["", "gate.example.com", "ftp://x", "https://", "https://user:pw@gate", "http://a b", "/mcp"]
    {
        check(mcp_url(wrong), Err(url));
    }
    check(server_name("my-gate_2"), Ok("my-gate_2"));
    for wrong in ["", "a b", "a.b", "ä", &"x".repeat(65)] {
        check(server_name(wrong), Err("use 1 to 64 letters, digits, '_' or '-'"));
    }
    check(variable_name("GATE_KEY2"), Ok("GATE_KEY2"));
    for wrong in ["", "2X", "A-B", "sk_demo_x!", "A B"] {
        check(variable_name(wrong), Err("use the name of a variable, not the key itself"));
    }
    check(key_text("sk_x"), Ok("sk_x"));
    for wrong in ["", "a b", "a\n", &"x".repeat(513)] {
        check(key_text(wrong), Err("a key is 1 to 512 printable characters without spaces"));
    }
}
