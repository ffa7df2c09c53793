// ./gradlew check -Pedgekd.run=releases/clothes-pixel-8-1.4.0 -Pedgekd.baseline=releases/clothes-pixel-8-1.3.0
val edgekdGate by tasks.registering(Exec::class) {
    group = "verification"
    description = "Fails unless the student may replace its baseline."
    val run = providers.gradleProperty("edgekd.run").get()
    val baseline = providers.gradleProperty("edgekd.baseline").get()
    val report = layout.buildDirectory.file("test-results/edgekd-gate.xml").get().asFile.path
    commandLine("edgekd", "gate", run, "--baseline", baseline, "--junit", report)
}
tasks.named("check") { dependsOn(edgekdGate) }
