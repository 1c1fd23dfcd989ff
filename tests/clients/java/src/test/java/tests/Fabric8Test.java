package tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.fabric8.kubernetes.api.model.ConfigMap;
import io.fabric8.kubernetes.api.model.ConfigMapBuilder;
import io.fabric8.kubernetes.api.model.ListOptionsBuilder;
import io.fabric8.kubernetes.api.model.NamespaceBuilder;
import io.fabric8.kubernetes.api.model.SecretBuilder;
import io.fabric8.kubernetes.api.model.authentication.TokenRequestBuilder;
import io.fabric8.kubernetes.api.model.authentication.TokenReviewBuilder;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.KubernetesClientBuilder;
import io.fabric8.kubernetes.client.KubernetesClientException;
import io.fabric8.kubernetes.client.http.BasicBuilder;
import io.fabric8.kubernetes.client.http.HttpRequest;
import io.fabric8.kubernetes.client.http.Interceptor;
import io.fabric8.kubernetes.client.http.WebSocket;
import io.fabric8.kubernetes.client.informers.ResourceEventHandler;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** fabric8's client, over $KUBECONFIG. */
class Fabric8Test {
    /** By what each watch was asked for: fabric8 takes a plain answer where a websocket was refused. */
    private final List<Boolean> websockets = new CopyOnWriteArrayList<>();
    private KubernetesClient client;
    private String namespace;

    @BeforeEach
    void begin() throws Exception {
        Interceptor watches = new Interceptor() {
            @Override
            public void before(BasicBuilder builder, HttpRequest request, RequestTags tags) {
                if (request.uri().toString().contains("watch=true")) websockets.add(builder instanceof WebSocket.Builder);
            }
        };
        client = new KubernetesClientBuilder()
            .withHttpClientBuilderConsumer(builder -> builder.addOrReplaceInterceptor("watches", watches)).build();
        namespace = client.namespaces().resource(new NamespaceBuilder().withNewMetadata().withGenerateName("fabric8-")
            .endMetadata().build()).create().getMetadata().getName();
        Wait.until("the default account",
            () -> client.serviceAccounts().inNamespace(namespace).withName("default").get() != null);
    }

    @AfterEach
    void end() {
        client.close();
    }

    private ConfigMap map(String name) {
        return new ConfigMapBuilder().withNewMetadata().withName(name).withNamespace(namespace).addToLabels("of", "fabric8")
            .endMetadata().addToData("a", "b").build();
    }

    @Test
    void asksWhatIsServed() {
        assertTrue(client.getKubernetesVersion().getGitVersion().startsWith("v1."));
        assertTrue(client.hasApiGroup("rbac.authorization.k8s.io", true));
        assertTrue(client.supports(ConfigMap.class));
        assertNotNull(client.getApiResources("v1"));
        assertNotNull(client.rbac().clusterRoles().withName("view").get());
    }

    @Test
    void leadsAnObjectThroughItsLife() {
        ConfigMap made = client.resource(map("one")).create();
        ConfigMap changed = new ConfigMapBuilder(made).addToData("a", "c").build();
        assertEquals("c", client.resource(changed).update().getData().get("a"));
        KubernetesClientException late = assertThrows(KubernetesClientException.class,
            () -> client.resource(changed).lockResourceVersion().update());
        assertEquals(409, late.getCode());
        client.resource(map("two")).create();
        var maps = client.configMaps().inNamespace(namespace).withLabel("of", "fabric8");
        var first = maps.list(new ListOptionsBuilder().withLimit(1L).build());
        var second = maps.list(new ListOptionsBuilder().withLimit(1L).withContinue(first.getMetadata().getContinue()).build());
        assertEquals("one", first.getItems().get(0).getMetadata().getName());
        assertEquals("two", second.getItems().get(0).getMetadata().getName());
        assertEquals(1, client.resource(map("one")).delete().size());
        assertNull(client.resource(map("one")).get());
        client.resource(new SecretBuilder().withNewMetadata().withName("s").withNamespace(namespace).endMetadata()
            .addToStringData("a", "b").build()).create();
        assertEquals("Yg==", client.secrets().inNamespace(namespace).withName("s").get().getData().get("a"));
    }

    @Test
    void informs() throws Exception {
        List<String> told = new CopyOnWriteArrayList<>();
        client.resource(map("before")).create();
        try (var informer = client.configMaps().inNamespace(namespace).withLabel("of", "fabric8").inform(handler(told))) {
            Wait.until("what was there", () -> informer.hasSynced() && told.contains("add before"));
            ConfigMap made = client.resource(map("after")).create();
            client.resource(new ConfigMapBuilder(made).addToData("a", "c").build()).update();
            Wait.until("a change", () -> told.contains("update after"));
            client.resource(map("after")).delete();
            Wait.until("an end", () -> told.contains("delete after"));
            assertTrue(informer.isWatching());
            assertEquals(1, informer.getIndexer().list().size());
        }
        assertEquals(List.of("add before", "add after", "update after", "delete after"), told);
        assertEquals(List.of(true), websockets, "one watch, by a websocket");
    }

    private static ResourceEventHandler<ConfigMap> handler(List<String> told) {
        return new ResourceEventHandler<>() {
            @Override
            public void onAdd(ConfigMap map) {
                told.add("add " + map.getMetadata().getName());
            }

            @Override
            public void onUpdate(ConfigMap before, ConfigMap map) {
                told.add("update " + map.getMetadata().getName());
            }

            @Override
            public void onDelete(ConfigMap map, boolean unknown) {
                told.add("delete " + map.getMetadata().getName());
            }
        };
    }

    @Test
    void hasATokenMadeAndReviewed() {
        var request = new TokenRequestBuilder().withNewSpec().withAudiences("vault").withExpirationSeconds(900L).endSpec().build();
        var account = client.serviceAccounts().inNamespace(namespace).withName("default");
        String token = account.tokenRequest(request).getStatus().getToken();
        var review = new TokenReviewBuilder().withNewSpec().withToken(token).withAudiences("vault").endSpec().build();
        var status = client.tokenReviews().create(review).getStatus();
        assertTrue(status.getAuthenticated());
        assertEquals("system:serviceaccount:" + namespace + ":default", status.getUser().getUsername());
    }
}
