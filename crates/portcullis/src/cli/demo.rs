//! `portcullis demo`: `serve` with the configuration of `examples/quickstart`, in a folder of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use clap::Args;

use super::{
    Failure, Globals, Out,
    whole::{self, Made},
};
use crate::data::CONFIG_FILE;

/// The configuration of the demo: an ordinary one.
const QUICKSTART: &str = include_str!("../../../../examples/quickstart/portcullis.yaml");

/// The port of the sample API in [`QUICKSTART`]; another one is written into the file where this one is taken.
const SHOP_PORT: u16 = 8098;

/// The port of the emulated routers in [`QUICKSTART`], likewise.
const SSH_PORT: u16 = 2322;
/// The address of the first of them.
const FIRST_ROUTER: Ipv4Addr = Ipv4Addr::new(127, 0, 77, 1);

/// Start a whole server to try: a sample shop as an SQL database and as a REST API, a folder, and two keys.
///
/// Its configuration is written to the data folder, where you can change it while the server runs.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Listen here
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

pub(super) async fn run(args: DemoArgs, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let text = || {
        let text = QUICKSTART.replace(&format!(":{SHOP_PORT}"), &format!(":{}", shop_port()));
        let text = text.replace(&format!("port: {SSH_PORT}"), &format!("port: {}", ssh_port()));
        // The folder of the file is the data folder itself.
        text.replace("\ndata_dir: data\n", "\ndata_dir: .\n")
    };
    whole::run(Made { name: "demo", text: &text, try_it: &try_it }, args.listen, globals, out).await
}

/// The sample API's usual port, or a free one where that is taken.
fn shop_port() -> u16 {
    usual_or_free(Ipv4Addr::LOCALHOST, SHOP_PORT)
}

/// The usual port of the emulated routers, or a free one where that is taken.
fn ssh_port() -> u16 {
    usual_or_free(FIRST_ROUTER, SSH_PORT)
}

fn usual_or_free(address: Ipv4Addr, usual: u16) -> u16 {
    let free = |port| TcpListener::bind((address, port))?.local_addr().map(|addr| addr.port());
    free(usual).or_else(|_| free(0)).unwrap_or(usual)
}

fn try_it(url: &str, key: &str, dir: &str) -> String {
    format!(
        "Call a tool:

  curl -H 'Authorization: Bearer {key}' {url}/v1/mcp/get_customer -d '{{\"customer_id\": 42}}'

Ask the routers of the sample network:

  curl -H 'Authorization: Bearer {key}' {url}/v1/mcp/run_show_commands -d '{{\"devices\": [\"*\"], \"commands\": [\"show version\"]}}'

Then, in another terminal:

  portcullis tools                          what can be called
  portcullis call get_top_customers limit=3
  portcullis call analyze_routing_table device_ip=lab-r1
  portcullis audit tail -n 3                who did what
  $EDITOR {dir}/{CONFIG_FILE}               changes hold at once
"
    )
}
