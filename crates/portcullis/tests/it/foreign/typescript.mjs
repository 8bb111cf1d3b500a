// The TypeScript client: lists, calls, reads an error, in the mode that is named. Prints one line.
import { pathToFileURL } from 'node:url';
import { readFileSync } from 'node:fs';

const [place, url, mode] = process.argv.slice(2);
const about = JSON.parse(readFileSync(`${place}/package.json`, 'utf8'));
const entry = about.exports['.'].import?.default ?? about.exports['.'].import ?? about.main;
const { Client, StreamableHTTPClientTransport } = await import(pathToFileURL(`${place}/${entry}`));
const negotiation = mode === 'legacy' ? {} : { versionNegotiation: { mode: mode === 'auto' ? 'auto' : { pin: mode } } };
const client = new Client({ name: 'test', version: '1' }, negotiation);
const headers = { Authorization: `Bearer ${process.env.KEY}` };
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
const tools = await client.listTools();
const good = await client.callTool({ name: 'get_customer', arguments: { customer_id: 42 } });
const bad = await client.callTool({ name: 'get_customer', arguments: { customer_id: -1 } });
console.log(tools.tools.length > 10, JSON.stringify(good.structuredContent), bad.isError);
await client.close();
