//! A room whose tools do what a test says.

use futures_util::future::BoxFuture;

use super::*;

/// What a tool does.
pub(super) type Work = Arc<dyn Fn(Permit, Talk) -> BoxFuture<'static, Result<Reply, Fault>> + Send + Sync>;

/// A room with tools of a test's own, on the source `odd`.
pub(super) struct Odd {
    tools: Arc<[Arc<Tool>]>,
    work: Work,
}

/// A reading tool that takes whatever arguments there are.
pub(super) fn reading(name: &str) -> Tool {
    let mut tool = Tool::reading(ToolName::parse(name).unwrap(), "odd", "", json!({ "type": "object" }));
    tool.time_max = Duration::from_millis(300);
    tool
}

/// Work that is done at once.
pub(super) fn at_once(work: impl Fn(Permit) -> Result<Reply, Fault> + Send + Sync + 'static) -> Work {
    Arc::new(move |permit, _talk| {
        let result = work(permit);
        Box::pin(async move { result })
    })
}

impl Odd {
    pub(super) fn new(tools: impl IntoIterator<Item = Tool>, work: Work) -> Arc<Self> {
        Arc::new(Self { tools: tools.into_iter().map(Arc::new).collect(), work })
    }
}

impl House {
    /// Lets this room in beside the first one, as a reload does.
    pub(super) fn let_in(&self, odd: Arc<Odd>, change: impl FnOnce(&mut Config)) {
        let mut config = config();
        change(&mut config);
        self.gate.swap(Snapshot::build(config, vec![self.shaky.clone(), odd]).unwrap());
    }

    /// A house with this room in it.
    pub(super) async fn with_odd(tools: impl IntoIterator<Item = Tool>, work: Work) -> Self {
        let house = Self::open().await;
        house.let_in(Odd::new(tools, work), |_| {});
        house
    }
}

#[async_trait]
impl Provider for Odd {
    fn name(&self) -> &str {
        "odd"
    }

    fn tools(&self) -> Arc<[Arc<Tool>]> {
        Arc::clone(&self.tools)
    }

    async fn run(&self, permit: Permit, talk: Talk) -> Result<Reply, Fault> {
        (self.work)(permit, talk).await
    }
}
