// Reads custom resources as a JSON list and prints one line for each that its schema refuses.
// Resolved from the folder of the caller, where `make helm-check` has installed the models.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const folders = {
  "monitoring.coreos.com/v1": "prometheus-operator/monitoring.coreos.com/v1",
  "keda.sh/v1alpha1": "keda/keda.sh/v1alpha1",
  "gateway.networking.k8s.io/v1": "gateway-api/gateway.networking.k8s.io/v1",
};

async function modelOf(object) {
  const folder = `${process.argv[2]}/node_modules/@kubernetes-models/${folders[object.apiVersion]}`;
  const found = await import(pathToFileURL(`${folder}/index.js`));
  return found[object.kind] ?? found.default[object.kind];
}

let checked = 0;
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const Model = await modelOf(object);
  try {
    new Model(object).validate();
    checked += 1;
  } catch (error) {
    console.log(`${object.kind} ${object.metadata.name}: ${error.message}`);
  }
}
console.log(`checked ${checked}`);
