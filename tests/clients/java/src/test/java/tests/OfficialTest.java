package tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kubernetes.client.informer.ResourceEventHandler;
import io.kubernetes.client.informer.SharedInformerFactory;
import io.kubernetes.client.openapi.ApiClient;
import io.kubernetes.client.openapi.ApiException;
import io.kubernetes.client.openapi.apis.ApisApi;
import io.kubernetes.client.openapi.apis.AuthenticationV1Api;
import io.kubernetes.client.openapi.apis.CoreApi;
import io.kubernetes.client.openapi.apis.CoreV1Api;
import io.kubernetes.client.openapi.apis.VersionApi;
import io.kubernetes.client.openapi.models.AuthenticationV1TokenRequest;
import io.kubernetes.client.openapi.models.V1ConfigMap;
import io.kubernetes.client.openapi.models.V1ConfigMapList;
import io.kubernetes.client.openapi.models.V1Namespace;
import io.kubernetes.client.openapi.models.V1ObjectMeta;
import io.kubernetes.client.openapi.models.V1TokenRequestSpec;
import io.kubernetes.client.openapi.models.V1TokenReview;
import io.kubernetes.client.openapi.models.V1TokenReviewSpec;
import io.kubernetes.client.util.Config;
import io.kubernetes.client.util.generic.GenericKubernetesApi;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The official client, over $KUBECONFIG. */
class OfficialTest {
    private ApiClient client;
    private CoreV1Api core;
    private String namespace;

    @BeforeEach
    void begin() throws Exception {
        client = Config.defaultClient();
        core = new CoreV1Api(client);
        var meta = new V1ObjectMeta().generateName("official-");
        namespace = core.createNamespace(new V1Namespace().metadata(meta)).execute().getMetadata().getName();
        Wait.until("the default account",
            () -> !core.listNamespacedServiceAccount(namespace).execute().getItems().isEmpty());
    }

    private V1ConfigMap map(String name) {
        return new V1ConfigMap().metadata(new V1ObjectMeta().name(name).putLabelsItem("of", "official")).putDataItem("a", "b");
    }

    @Test
    void asksWhatIsServed() throws Exception {
        assertTrue(new VersionApi(client).getCode().execute().getGitVersion().startsWith("v1."));
        assertEquals(List.of("v1"), new CoreApi(client).getAPIVersions().execute().getVersions());
        assertTrue(new ApisApi(client).getAPIVersions().execute().getGroups().stream()
            .anyMatch(group -> group.getName().equals("rbac.authorization.k8s.io")));
        assertTrue(core.getAPIResources().execute().getResources().stream()
            .anyMatch(one -> one.getName().equals("serviceaccounts/token")));
    }

    @Test
    void leadsAnObjectThroughItsLife() throws Exception {
        V1ConfigMap made = core.createNamespacedConfigMap(namespace, map("one")).execute();
        made.putDataItem("a", "c");
        assertEquals("c", core.replaceNamespacedConfigMap("one", namespace, made).execute().getData().get("a"));
        ApiException late = assertThrows(ApiException.class,
            () -> core.replaceNamespacedConfigMap("one", namespace, made).execute());
        assertEquals(409, late.getCode());
        core.createNamespacedConfigMap(namespace, map("two")).execute();
        V1ConfigMapList first = core.listNamespacedConfigMap(namespace).labelSelector("of=official").limit(1).execute();
        V1ConfigMapList second = core.listNamespacedConfigMap(namespace).labelSelector("of=official").limit(1)
            ._continue(first.getMetadata().getContinue()).execute();
        assertEquals("one", first.getItems().get(0).getMetadata().getName());
        assertEquals("two", second.getItems().get(0).getMetadata().getName());
        core.deleteNamespacedConfigMap("one", namespace).execute();
        ApiException gone = assertThrows(ApiException.class, () -> core.readNamespacedConfigMap("one", namespace).execute());
        assertEquals(404, gone.getCode());
    }

    @Test
    void informs() throws Exception {
        List<String> told = new CopyOnWriteArrayList<>();
        core.createNamespacedConfigMap(namespace, map("before")).execute();
        var factory = new SharedInformerFactory(client);
        var maps = new GenericKubernetesApi<>(V1ConfigMap.class, V1ConfigMapList.class, "", "v1", "configmaps", client);
        var informer = factory.sharedIndexInformerFor(maps, V1ConfigMap.class, 0, namespace);
        informer.addEventHandler(handler(told));
        factory.startAllRegisteredInformers();
        try {
            Wait.until("what was there", () -> informer.hasSynced() && told.contains("add before"));
            V1ConfigMap made = core.createNamespacedConfigMap(namespace, map("after")).execute();
            core.replaceNamespacedConfigMap("after", namespace, made.putDataItem("a", "c")).execute();
            Wait.until("a change", () -> told.contains("update after"));
            core.deleteNamespacedConfigMap("after", namespace).execute();
            Wait.until("an end", () -> told.contains("delete after"));
        } finally {
            factory.stopAllRegisteredInformers();
        }
        told.remove("add kube-root-ca.crt");
        assertEquals(List.of("add before", "add after", "update after", "delete after"), told);
    }

    private static ResourceEventHandler<V1ConfigMap> handler(List<String> told) {
        return new ResourceEventHandler<>() {
            @Override
            public void onAdd(V1ConfigMap map) {
                told.add("add " + map.getMetadata().getName());
            }

            @Override
            public void onUpdate(V1ConfigMap before, V1ConfigMap map) {
                told.add("update " + map.getMetadata().getName());
            }

            @Override
            public void onDelete(V1ConfigMap map, boolean unknown) {
                told.add("delete " + map.getMetadata().getName());
            }
        };
    }

    @Test
    void hasATokenMadeAndReviewed() throws Exception {
        var request = new AuthenticationV1TokenRequest()
            .spec(new V1TokenRequestSpec().audiences(List.of("vault")).expirationSeconds(900L));
        String token = core.createNamespacedServiceAccountToken("default", namespace, request).execute().getStatus().getToken();
        var review = new V1TokenReview().spec(new V1TokenReviewSpec().token(token).audiences(List.of("vault")));
        var status = new AuthenticationV1Api(client).createTokenReview(review).execute().getStatus();
        assertTrue(status.getAuthenticated());
        assertEquals("system:serviceaccount:" + namespace + ":default", status.getUser().getUsername());
    }
}
