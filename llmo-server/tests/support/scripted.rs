//! Models that say what the simulator can't: calls of functions, steps of a pull.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use llmo_backends::sim::{SimModel, SimOptions};
use llmo_core::model::{
    Delta, Event, EventStream, Finish, FinishReason, GenerateRequest, Load, Model, ModelError, ModelInfo, Models,
    PullProgress, PullStream, Result, SingleModel, ToolCallDelta, Usage,
};

use super::sim::Sim;

/// Whatever is asked: some text and two calls.
struct Calls(ModelInfo);

#[async_trait]
impl Model for Calls {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    async fn generate(&self, _: GenerateRequest) -> Result<EventStream> {
        let call = |pieces: Vec<ToolCallDelta>| {
            let mut delta = Delta::default();
            delta.tool_calls = pieces;
            Event::Delta(delta)
        };
        let events = [
            Event::Delta(Delta::new("Let me see.", vec![1])),
            call(vec![ToolCallDelta::first(0, "call_1", "get_weather")]),
            call(vec![ToolCallDelta::arguments(0, "{\"city\":")]),
            call(vec![
                ToolCallDelta::arguments(0, "\"Paris\"}"),
                ToolCallDelta::first(1, "call_2", "get_time"),
                ToolCallDelta::arguments(1, "{}"),
            ]),
            Event::Finish(Finish::new(FinishReason::ToolCalls, Usage::new(5, 4))),
        ];
        Ok(EventStream::new(futures::stream::iter(events.map(Ok))))
    }

    fn load(&self) -> Load {
        Load::idle(1)
    }
}

pub async fn calls() -> Sim {
    let model = Calls(ModelInfo::new("sim", "scripted"));
    Sim::over(Arc::new(SingleModel::new(Arc::new(model))), SimOptions::named("sim")).await
}

/// Fetches anything but `unknown`, in two steps; `here` is there.
struct Pulling {
    one: SingleModel,
    fails: bool,
}

#[async_trait]
impl Models for Pulling {
    async fn resolve(&self, name: &str) -> Result<Arc<dyn Model>> {
        self.one.resolve(name).await
    }

    async fn list(&self) -> Vec<ModelInfo> {
        self.one.list().await
    }

    async fn pull(&self, name: &str) -> Result<PullStream> {
        if name == "unknown" {
            return Err(ModelError::NotFound { model: name.to_owned(), suggestion: None });
        }
        if name == "here" {
            // Nothing to do, and a stream that may not be asked again.
            return Ok(futures::stream::unfold((), |()| async { None }).boxed());
        }
        let mut steps = vec![
            Ok(PullProgress::step(format!("asking {name}"))),
            Ok(PullProgress::step("receiving").bytes(5, Some(10))),
        ];
        steps.extend(self.fails.then(|| Err(ModelError::unavailable("no source"))));
        Ok(futures::stream::iter(steps).boxed())
    }

    fn ready(&self) -> std::result::Result<(), Vec<String>> {
        Ok(())
    }
}

pub async fn pulling(fails: bool) -> Sim {
    let model = Arc::new(SimModel::new(SimOptions::named("sim")));
    let models = Pulling { one: SingleModel::new(model), fails };
    Sim::over(Arc::new(models), SimOptions::named("sim")).await
}
