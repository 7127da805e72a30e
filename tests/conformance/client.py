"""Asks a weir on the reference configuration as a Python application does; see README.md here."""

import hashlib
import sys

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

api.set_provider(OFREPProvider(sys.argv[1]))
client = api.get_client()
given = ""
for user in range(200):
    details = client.get_boolean_details("orders-v2", True, EvaluationContext(targeting_key=str(user)))
    assert details.error_code is None and str(details.reason).endswith("SPLIT"), details
    given += "1" if details.value else "0"
missing = client.get_string_details("no-such-toggle", "code", EvaluationContext(targeting_key="1"))
assert missing.value == "code" and missing.error_code.value == "FLAG_NOT_FOUND", missing
wrong = client.get_string_details("orders-v2", "code", EvaluationContext(targeting_key="1"))
assert wrong.value == "code" and wrong.error_code.value == "TYPE_MISMATCH", wrong
print(given.count("1"), "of 200 on,", hashlib.sha256(given.encode()).hexdigest()[:16])
