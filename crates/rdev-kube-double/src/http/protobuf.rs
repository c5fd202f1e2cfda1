//! Protobuf body of an access review, the one body that recent kubectls do not send as JSON.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};

/// Media type, and the first bytes of its bodies.
pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";

/// Wire types of fields.
const VARINT: u64 = 0;
const BYTES: u64 = 2;

/// Reads the attributes of a resource; `None` for any other body.
pub(super) fn review(body: &[u8]) -> Option<SelfSubjectAccessReview> {
    // Field numbers from the .proto files of apimachinery and authorization/v1: Unknown.raw,
    // SelfSubjectAccessReview.spec, SelfSubjectAccessReviewSpec.resourceAttributes.
    let review = field(body.strip_prefix(MAGIC)?, 2)?;
    let attributes = field(field(review, 2)?, 1).map(|attributes| {
        let text = |number| field(attributes, number).map(|text| String::from_utf8_lossy(text).into_owned());
        ResourceAttributes {
            namespace: text(1),
            verb: text(2),
            group: text(3),
            version: text(4),
            resource: text(5),
            subresource: text(6),
            name: text(7),
            ..ResourceAttributes::default()
        }
    });
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: attributes, non_resource_attributes: None };
    Some(SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() })
}

/// Returns the first field with this number that holds bytes.
fn field(mut message: &[u8], wanted: u64) -> Option<&[u8]> {
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match key & 7 {
            VARINT => {
                varint(&mut message)?;
            }
            BYTES => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (content, rest) = message.split_at_checked(length)?;
                if key >> 3 == wanted {
                    return Some(content);
                }
                message = rest;
            }
            _ => return None,
        }
    }
    None
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for pod_folder in 0..10 {
        let (&byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << (7 * pod_folder);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
