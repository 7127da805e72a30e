//! The stage: everything that runs in the demo, and how it starts and ends.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context;

use super::{
    files::Files,
    ledger::Ledger,
    load::Load,
    scene::{Arm, Scene, Script, generation},
    service::Services,
};
use crate::app::App;

/// Two services, a configuration directory, and weir between them and the load.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) script: Arc<Script>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) services: Services,
    pub(super) files: Files,
    pub(super) app: Arc<App>,
    pub(super) edge: SocketAddr,
}

impl Stage {
    pub(super) fn open() -> anyhow::Result<Stage> {
        let script = Script::new()?;
        let services = Services::start()?;
        let first = script.scene(generation::TENTH).context("there is no first scene")?;
        let files = Files::create(services.addresses(), first).context("no configuration could be written")?;
        let app = App::start(files.directory())?;
        let edge = app.addresses().listeners.first().and_then(|(_name, address)| address.tcp());
        let edge = edge.context("weir listens nowhere")?;
        let ledger = Ledger::new(&script);
        Ok(Stage { script: Arc::new(script), ledger: Arc::new(ledger), services, files, app: Arc::new(app), edge })
    }

    /// Lets the users come.
    pub(super) fn load(&self) -> anyhow::Result<Load> {
        Load::start(self.edge, &self.app, &self.script, &self.ledger)
    }

    /// What the configuration of that generation is to say.
    pub(super) fn scene(&self, generation: u64) -> anyhow::Result<&Scene> {
        self.script.scene(generation).with_context(|| format!("there is no scene {generation}"))
    }

    /// Drains weir, stops the services, joins their threads and removes the files, unless they are to
    /// be kept.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        let app = Arc::into_inner(self.app).context("the load still holds weir")?;
        app.drain().await;
        self.services.stop()
    }

    /// Who is on it, and where.
    pub(super) fn introduction(&self) -> String {
        let [stable, canary] = Arm::ALL.map(|arm| self.services.addresses()[arm.index()]);
        format!(
            "An orders service in two versions, weir in front of it, and {users} users.\n\n  \
             weir      http://{edge}   metrics http://{admin}/metrics\n  \
             services  v1 {stable}   v2 {canary}\n  \
             config    {orders}",
            users = self.script.users().len(),
            edge = self.edge,
            admin = self.admin(),
            orders = self.orders().display(),
        )
    }

    /// What can be tried while it stays open.
    pub(super) fn invitation(&self) -> String {
        let (edge, admin, orders) = (self.edge, self.admin(), self.orders());
        let [stable, canary] = Arm::ALL.map(|arm| self.user_on(arm));
        format!(
            "\nEverything still runs, without load. Try:\n\n  \
             curl -H x-user-id:{canary} http://{edge}/orders/1   # v2\n  \
             curl -H x-user-id:{stable} http://{edge}/orders/1   # v1\n  \
             curl -H x-user-id:{stable} -H x-cohort:beta http://{edge}/orders/1   # v2\n  \
             curl -iH x-weir-explain:1 -H x-user-id:{canary} http://{edge}/orders/1\n  \
             curl --json '{{\"item\":\"tea\",\"quantity\":0}}' http://{edge}/orders\n  \
             curl -s http://{admin}/metrics | grep weir_toggle\n\n\
             Edit {} and ask again.\n\
             Ctrl-C ends it; the files stay.",
            orders.display()
        )
    }

    /// A user whom the last scene puts on the arm without any rule, from 42 on.
    fn user_on(&self, arm: Arm) -> &str {
        let users = self.script.users().iter().enumerate().skip(41);
        let mut owed = users.filter(|(user, _)| self.script.arm(generation::RESTORED, *user) == Some(arm));
        owed.find(|(_, user)| !user.beta).map_or("42", |(_, user)| &user.id)
    }

    fn admin(&self) -> String {
        self.app.addresses().admin.map_or("nowhere".to_owned(), |address| address.to_string())
    }

    fn orders(&self) -> PathBuf {
        self.files.orders()
    }
}
