// Asks a weir on the reference configuration as a JavaScript application does; see README.md here.

const assert = require("node:assert");
const { createHash } = require("node:crypto");
const { OpenFeature } = require("@openfeature/server-sdk");
const { OFREPProvider } = require("@openfeature/ofrep-provider");

(async () => {
  await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: process.argv[2] }));
  const client = OpenFeature.getClient();
  let given = "";
  for (let user = 0; user < 200; user++) {
    const details = await client.getBooleanDetails("orders-v2", true, { targetingKey: `${user}` });
    assert(!details.errorCode && details.reason === "SPLIT", JSON.stringify(details));
    given += details.value ? "1" : "0";
  }
  const missing = await client.getStringDetails("no-such-toggle", "code", { targetingKey: "1" });
  assert(missing.value === "code" && missing.errorCode === "FLAG_NOT_FOUND", JSON.stringify(missing));
  const wrong = await client.getNumberDetails("orders-v2", 7, { targetingKey: "1" });
  assert(wrong.value === 7 && wrong.errorCode === "TYPE_MISMATCH", JSON.stringify(wrong));
  const digest = createHash("sha256").update(given).digest("hex").slice(0, 16);
  console.log(`${given.replaceAll("0", "").length} of 200 on, ${digest}`);
})();
