package tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kubernetes.client.custom.V1Patch;
import io.kubernetes.client.openapi.ApiClient;
import io.kubernetes.client.openapi.ApiException;
import io.kubernetes.client.openapi.apis.AppsV1Api;
import io.kubernetes.client.openapi.apis.CoreV1Api;
import io.kubernetes.client.openapi.models.V1Container;
import io.kubernetes.client.openapi.models.V1Deployment;
import io.kubernetes.client.openapi.models.V1DeploymentList;
import io.kubernetes.client.openapi.models.V1DeploymentSpec;
import io.kubernetes.client.openapi.models.V1LabelSelector;
import io.kubernetes.client.openapi.models.V1Namespace;
import io.kubernetes.client.openapi.models.V1ObjectMeta;
import io.kubernetes.client.openapi.models.V1PodSpec;
import io.kubernetes.client.openapi.models.V1PodTemplateSpec;
import io.kubernetes.client.util.Config;
import io.kubernetes.client.util.PatchUtils;
import io.kubernetes.client.util.ServerSideApply;
import io.kubernetes.client.util.generic.GenericKubernetesApi;
import io.kubernetes.client.util.generic.options.PatchOptions;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The official client's patches by their types, and server-side apply by its helper and by the generic client. */
class OfficialPatchesTest {
    private ApiClient client;
    private AppsV1Api apps;
    private GenericKubernetesApi<V1Deployment, V1DeploymentList> generic;
    private String namespace;

    @BeforeEach
    void begin() throws Exception {
        client = Config.defaultClient();
        apps = new AppsV1Api(client);
        generic = new GenericKubernetesApi<>(V1Deployment.class, V1DeploymentList.class, "apps", "v1", "deployments", client);
        var meta = new V1ObjectMeta().generateName("official-");
        namespace = new CoreV1Api(client).createNamespace(new V1Namespace().metadata(meta)).execute().getMetadata().getName();
    }

    private V1Deployment web(int replicas) {
        Map<String, String> labels = Map.of("app", "web");
        var pod = new V1PodSpec().containers(List.of(new V1Container().name("app").image("app:1"),
            new V1Container().name("side").image("side:1")));
        var template = new V1PodTemplateSpec().metadata(new V1ObjectMeta().labels(labels)).spec(pod);
        return new V1Deployment().apiVersion("apps/v1").kind("Deployment")
            .metadata(new V1ObjectMeta().name("web").namespace(namespace))
            .spec(new V1DeploymentSpec().replicas(replicas).selector(new V1LabelSelector().matchLabels(labels)).template(template));
    }

    private List<String> images(V1Deployment of) {
        return of.getSpec().getTemplate().getSpec().getContainers().stream().map(V1Container::getImage).toList();
    }

    private V1Deployment patch(String type, String patch) throws ApiException {
        return PatchUtils.patch(V1Deployment.class,
            () -> apps.patchNamespacedDeployment("web", namespace, new V1Patch(patch)).buildCall(null), type, client);
    }

    @Test
    void patches() throws Exception {
        apps.createNamespacedDeployment(namespace, web(1)).execute();
        String side = "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"side\",\"image\":\"side:2\"}]}}}}";
        assertEquals(List.of("app:1", "side:2"), images(patch(V1Patch.PATCH_FORMAT_STRATEGIC_MERGE_PATCH, side)));
        assertEquals(List.of("side:2"), images(patch(V1Patch.PATCH_FORMAT_JSON_MERGE_PATCH, side)));
        String first = "/spec/template/spec/containers/0/image";
        String operations = "[{\"op\":\"replace\",\"path\":\"" + first + "\",\"value\":\"side:3\"}]";
        assertEquals(List.of("side:3"), images(patch(V1Patch.PATCH_FORMAT_JSON_PATCH, operations)));
        assertEquals(422, assertThrows(ApiException.class,
            () -> patch(V1Patch.PATCH_FORMAT_JSON_PATCH, operations.replace("replace", "test").replace(":3", ":4"))).getCode());
    }

    @Test
    void appliesByItsHelper() throws Exception {
        var made = ServerSideApply.apply(generic, web(1), "author");
        assertEquals(List.of("app:1", "side:1"), images(made));
        assertEquals(made.getMetadata().getResourceVersion(),
            ServerSideApply.apply(generic, web(1), "author").getMetadata().getResourceVersion());
        ApiException refused = assertThrows(ApiException.class, () -> ServerSideApply.apply(generic, web(2), "other", false));
        assertEquals(409, refused.getCode());
        assertEquals(2, ServerSideApply.apply(generic, web(2), "other", true).getSpec().getReplicas());
    }

    @Test
    void appliesByTheGenericClient() throws Exception {
        var body = new V1Patch(client.getJSON().serialize(web(1)));
        var type = V1Patch.PATCH_FORMAT_APPLY_YAML;
        var made = generic.patch(namespace, "web", type, body, new PatchOptions().fieldManager("author").force(false));
        assertTrue(made.isSuccess(), () -> String.valueOf(made.getStatus()));
        var other = new V1Patch(client.getJSON().serialize(web(2)));
        var refused = generic.patch(namespace, "web", type, other, new PatchOptions().fieldManager("other").force(false));
        assertEquals(409, refused.getHttpStatusCode());
        // Maps that are empty are written out here (the helper leaves them out), and conflict by themselves.
        assertTrue(refused.getStatus().getDetails().getCauses().stream().anyMatch(one -> one.getField().equals(".spec.replicas")));
        var taken = generic.patch(namespace, "web", type, other, new PatchOptions().fieldManager("other").force(true));
        assertEquals(2, taken.getObject().getSpec().getReplicas());
    }
}
