//! Who may share with whom.

use llmo_core::GenerateRequest;

/// What must be the same for two prompts to share what is computed of them.
///
/// Another tenant's would tell, by the time it takes, what that tenant asked; another adapter's is of other weights.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(in super::super) struct Salt {
    tenant: Option<String>,
    /// Name and scale; the scale as its bits, so that it can be compared.
    adapter: Option<(String, u32)>,
}

impl Salt {
    pub(in super::super) fn of(request: &GenerateRequest) -> Self {
        let adapter = request.adapter.as_ref().map(|adapter| (adapter.name.clone(), adapter.scale.to_bits()));
        Self { tenant: request.tenant.clone(), adapter }
    }

    /// Is it of other weights than the model's own?
    pub(in super::super) fn has_adapter(&self) -> bool {
        self.adapter.is_some()
    }

    /// Bytes that differ for different salts.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let text = |text: Option<&str>| text.map_or_else(|| vec![0], |text| [&[1], text.as_bytes(), &[0xFF]].concat());
        let (name, scale) = self.adapter.as_ref().map_or((None, 0), |(name, scale)| (Some(name.as_str()), *scale));
        [text(self.tenant.as_deref()), text(name), scale.to_le_bytes().to_vec()].concat()
    }
}

#[cfg(test)]
mod tests {
    use llmo_core::model::{Adapter, Prompt};

    use super::*;

    #[test]
    fn tenants_and_adapters_differ() {
        let salt = |tenant: Option<&str>, adapter: Option<(&str, f32)>| {
            let mut request = GenerateRequest::new(Prompt::Tokens(vec![1]));
            request.tenant = tenant.map(str::to_owned);
            request.adapter = adapter.map(|(name, scale)| {
                let mut adapter = Adapter::new(name);
                adapter.scale = scale;
                adapter
            });
            Salt::of(&request)
        };
        let all = [
            salt(None, None),
            salt(Some(""), None),
            salt(Some("a"), None),
            salt(None, Some(("a", 1.0))),
            salt(None, Some(("a", 0.5))),
            salt(Some("a"), Some(("a", 1.0))),
        ];
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                assert_eq!(a == b, i == j);
                assert_eq!(a.bytes() == b.bytes(), i == j);
            }
        }
    }
}
