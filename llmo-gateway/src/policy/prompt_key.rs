//! What a prompt is recognised by.

use llmo_config::HashOn;
use llmo_core::model::{GenerateRequest, Message, Prompt, Role};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::Wants;

/// Bytes of a block: about 32 tokens.
pub const BLOCK_BYTES: usize = 128;
/// Blocks of a prompt that are looked at: 32 KiB.
pub const MAX_BLOCKS: usize = 256;
/// Of a plain text so much makes the key.
const KEY_BYTES: usize = 1024;

/// What of a prompt a policy looks at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PromptKey {
    /// Equal for requests that belong together.
    pub key: Option<u64>,
    /// A hash for each whole block of the prompt, of the block and all before it. Two prompts agree in as many hashes as
    /// they have blocks in common at their beginning.
    pub blocks: Vec<u64>,
}

impl PromptKey {
    /// As much as a policy wants.
    #[must_use]
    pub fn new(request: &GenerateRequest, wants: Wants) -> Self {
        match wants {
            Wants::Nothing => Self::default(),
            Wants::Key(HashOn::Tenant) => {
                let of = |tenant: &String| xxh3_64(tenant.as_bytes());
                Self { key: request.tenant.as_ref().map(of), blocks: Vec::new() }
            }
            Wants::Key(_) => Self { key: Some(conversation(&request.prompt)), blocks: Vec::new() },
            Wants::Blocks => Self { key: None, blocks: blocks(request) },
        }
    }
}

/// The same for all turns of a conversation: the messages up to the first of the user, or the beginning of a text.
fn conversation(prompt: &Prompt) -> u64 {
    match prompt {
        Prompt::Chat(messages) => {
            let opening =
                messages.iter().position(|message| message.role == Role::User).map_or(messages.len(), |i| i + 1);
            messages[..opening].iter().fold(0, |hash, message| xxh3_64_with_seed(message.content.as_bytes(), hash))
        }
        Prompt::Text(text) => xxh3_64(&text.as_bytes()[..text.len().min(KEY_BYTES)]),
        Prompt::Tokens(tokens) => {
            tokens.iter().take(KEY_BYTES / 4).fold(0, |hash, token| xxh3_64_with_seed(&token.to_le_bytes(), hash))
        }
        _ => 0,
    }
}

fn blocks(request: &GenerateRequest) -> Vec<u64> {
    let mut blocks = Blocks::default();
    // Templates put tools first.
    for tool in &request.tools {
        blocks.feed(tool.name.as_bytes());
    }
    match &request.prompt {
        Prompt::Chat(messages) => messages.iter().for_each(|message| blocks.message(message)),
        Prompt::Text(text) => blocks.feed(text.as_bytes()),
        Prompt::Tokens(tokens) => tokens.iter().for_each(|token| blocks.feed(&token.to_le_bytes())),
        _ => {}
    }
    blocks.hashes
}

/// Cuts text into blocks.
struct Blocks {
    hashes: Vec<u64>,
    block: [u8; BLOCK_BYTES],
    filled: usize,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { hashes: Vec::new(), block: [0; BLOCK_BYTES], filled: 0 }
    }
}

impl Blocks {
    /// The gateway has no chat template: it needs only what makes templates render differently.
    fn message(&mut self, message: &Message) {
        self.feed(&[0]);
        self.feed(message.role.as_str().as_bytes());
        self.feed(&[0]);
        self.feed(message.content.as_bytes());
        for call in &message.tool_calls {
            self.feed(&[0]);
            self.feed(call.name.as_bytes());
            self.feed(call.arguments.as_bytes());
        }
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.hashes.len() < MAX_BLOCKS {
            let taken = bytes.len().min(BLOCK_BYTES - self.filled);
            self.block[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == BLOCK_BYTES {
                let before = self.hashes.last().copied().unwrap_or_default();
                self.hashes.push(xxh3_64_with_seed(&self.block, before));
                self.filled = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Vec<u64> {
        PromptKey::new(&GenerateRequest::complete(text), Wants::Blocks).blocks
    }

    fn chat(messages: Vec<Message>, wants: Wants) -> PromptKey {
        PromptKey::new(&GenerateRequest::new(Prompt::Chat(messages)), wants)
    }

    proptest! {
        #[test]
        fn prompts_agree_in_as_many_blocks_as_they_share(shared in 0_usize..2_000, a in "[a-z]{300}", b in "[A-Z]{300}") {
            let beginning = "0123456789".repeat(200);
            let (a, b) = (of(&format!("{}{a}", &beginning[..shared])), of(&format!("{}{b}", &beginning[..shared])));
            let common = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
            prop_assert_eq!(common, shared / BLOCK_BYTES);
            prop_assert_eq!(a.len(), (shared + 300) / BLOCK_BYTES);
        }
    }

    #[test]
    fn endless_prompts_have_a_bounded_number_of_blocks() {
        assert_eq!(of(&"x".repeat(1 << 20)).len(), MAX_BLOCKS);
    }

    #[test]
    fn the_turns_of_a_conversation_have_one_key_and_growing_blocks() {
        let first = vec![Message::system("s".repeat(300)), Message::user("hello")];
        let mut second = first.clone();
        second.extend([Message::assistant("a".repeat(200)), Message::user("more")]);
        let key = |messages: &[Message]| chat(messages.to_vec(), Wants::Key(HashOn::Conversation)).key;
        assert_eq!(key(&first), key(&second));
        assert_ne!(key(&first), key(&[Message::user("other")]));
        let blocks = |messages: Vec<Message>| chat(messages, Wants::Blocks).blocks;
        let (short, long) = (blocks(first), blocks(second));
        assert!(long.starts_with(&short) && long.len() > short.len());
    }

    #[test]
    fn a_role_makes_a_difference() {
        let text = "x".repeat(200);
        let of = |message| chat(vec![message], Wants::Blocks).blocks;
        assert_ne!(of(Message::user(text.clone())), of(Message::assistant(text)));
    }

    #[test]
    fn tenants_have_keys_of_their_own() {
        let key = |tenant: Option<&str>| {
            let mut request = GenerateRequest::ask("x");
            request.tenant = tenant.map(str::to_owned);
            PromptKey::new(&request, Wants::Key(HashOn::Tenant)).key
        };
        assert_ne!(key(Some("a")), key(Some("b")));
        assert_eq!(key(None), None);
    }
}
