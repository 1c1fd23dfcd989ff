package tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.fabric8.kubernetes.api.model.ManagedFieldsEntry;
import io.fabric8.kubernetes.api.model.NamespaceBuilder;
import io.fabric8.kubernetes.api.model.apps.Deployment;
import io.fabric8.kubernetes.api.model.apps.DeploymentBuilder;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.KubernetesClientBuilder;
import io.fabric8.kubernetes.client.KubernetesClientException;
import io.fabric8.kubernetes.client.dsl.RollableScalableResource;
import io.fabric8.kubernetes.client.dsl.base.PatchContext;
import io.fabric8.kubernetes.client.dsl.base.PatchType;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** fabric8's patches: what `edit` finds by itself, those that are written out, server-side apply. */
class Fabric8PatchesTest {
    private KubernetesClient client;
    private String namespace;

    @BeforeEach
    void begin() {
        client = new KubernetesClientBuilder().build();
        namespace = client.namespaces().resource(new NamespaceBuilder().withNewMetadata().withGenerateName("fabric8-")
            .endMetadata().build()).create().getMetadata().getName();
    }

    @AfterEach
    void end() {
        client.close();
    }

    private Deployment web(int replicas, String image) {
        Map<String, String> labels = Map.of("app", "web");
        return new DeploymentBuilder().withNewMetadata().withName("web").withNamespace(namespace).endMetadata().withNewSpec()
            .withReplicas(replicas).withNewSelector().withMatchLabels(labels).endSelector()
            .withNewTemplate().withNewMetadata().withLabels(labels).endMetadata().withNewSpec()
            .addNewContainer().withName("app").withImage(image).endContainer()
            .addNewContainer().withName("side").withImage("side:1").endContainer()
            .endSpec().endTemplate().endSpec().build();
    }

    private RollableScalableResource<Deployment> there() {
        return client.apps().deployments().inNamespace(namespace).withName("web");
    }

    private static List<String> images(Deployment of) {
        return of.getSpec().getTemplate().getSpec().getContainers().stream().map(one -> one.getImage()).toList();
    }

    private Deployment patch(PatchType type, String patch) {
        return there().patch(new PatchContext.Builder().withPatchType(type).build(), patch);
    }

    @Test
    void edits() {
        client.resource(web(1, "app:1")).create();
        Deployment edited = there().edit(found -> new DeploymentBuilder(found).editMetadata().addToLabels("a", "b").endMetadata()
            .editSpec().editTemplate().editSpec().editMatchingContainer(one -> one.getName().equals("side")).withImage("side:2")
            .endContainer().endSpec().endTemplate().endSpec().build());
        assertEquals(List.of("app:1", "side:2"), images(edited));
        assertEquals(Map.of("a", "b"), edited.getMetadata().getLabels());
        there().editStatus(found -> new DeploymentBuilder(found).withNewStatus().withReplicas(3).endStatus().build());
        assertEquals(3, there().get().getStatus().getReplicas());
        client.resource(new DeploymentBuilder(there().get()).editSpec().withReplicas(2).endSpec().build()).patch();
        assertEquals(2, there().get().getSpec().getReplicas());
    }

    @Test
    void patches() {
        client.resource(web(1, "app:1")).create();
        String side = "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"side\",\"image\":\"side:2\"}]}}}}";
        assertEquals(List.of("app:1", "side:2"), images(patch(PatchType.STRATEGIC_MERGE, side)));
        assertEquals(List.of("side:2"), images(patch(PatchType.JSON_MERGE, side)));
        String first = "/spec/template/spec/containers/0/image";
        String operations = "[{\"op\":\"replace\",\"path\":\"" + first + "\",\"value\":\"side:3\"}]";
        assertEquals(List.of("side:3"), images(patch(PatchType.JSON, operations)));
        assertEquals(422, assertThrows(KubernetesClientException.class,
            () -> patch(PatchType.JSON, operations.replace("replace", "test").replace(":3", ":4"))).getCode());
    }

    @Test
    void applies() {
        Deployment made = client.resource(web(1, "app:1")).fieldManager("author").serverSideApply();
        Deployment again = client.resource(web(1, "app:1")).fieldManager("author").serverSideApply();
        assertEquals(made.getMetadata().getResourceVersion(), again.getMetadata().getResourceVersion());
        var refused = assertThrows(KubernetesClientException.class,
            () -> client.resource(web(2, "app:1")).fieldManager("other").serverSideApply());
        assertEquals(409, refused.getCode());
        var causes = refused.getStatus().getDetails().getCauses();
        assertEquals(List.of(".spec.replicas"), causes.stream().map(one -> one.getField()).toList());
        assertEquals("conflict with \"author\"", causes.get(0).getMessage());
        Deployment taken = client.resource(web(2, "app:1")).fieldManager("other").forceConflicts().serverSideApply();
        assertEquals(2, taken.getSpec().getReplicas());
        assertEquals(List.of("author", "other"),
            taken.getMetadata().getManagedFields().stream().map(ManagedFieldsEntry::getManager).toList());
    }

    @Test
    void scales() {
        client.resource(web(1, "app:1")).fieldManager("author").serverSideApply();
        there().scale(new io.fabric8.kubernetes.api.model.autoscaling.v1.ScaleBuilder(there().scale()).editSpec().withReplicas(3)
            .endSpec().build());
        assertEquals(3, there().get().getSpec().getReplicas());
        assertEquals(409, assertThrows(KubernetesClientException.class,
            () -> client.resource(web(1, "app:1")).fieldManager("author").serverSideApply()).getCode());
    }
}
