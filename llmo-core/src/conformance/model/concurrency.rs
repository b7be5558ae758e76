//! Requests at the same time don't disturb each other.

use futures::future::join_all;

use super::Subject;
use crate::model::GenerateRequest;

pub(super) async fn check(subject: &Subject) {
    let rule = "requests at the same time give what they give alone";
    let request = |index: usize| -> GenerateRequest {
        let mut request = subject.request();
        request.prompt = crate::model::Prompt::Text(format!("{index}. {}", subject.options.prompt));
        request
    };
    let mut alone = Vec::new();
    for index in 0..subject.options.concurrent {
        alone.push(subject.answer(rule, request(index)).await);
    }
    let together = join_all((0..subject.options.concurrent).map(|index| subject.answer(rule, request(index)))).await;
    for (index, (alone, together)) in alone.iter().zip(&together).enumerate() {
        assert_eq!(alone.finish.usage.prompt_tokens, together.finish.usage.prompt_tokens, "{rule}: request {index}");
        if subject.options.exact {
            assert_eq!(alone.whole.text, together.whole.text, "{rule}: request {index}");
        }
    }
    subject.idle("all slots are free after concurrent requests").await;
}
